/* The connection to the server: every answer is asked for again only if it changed, and a server that is away is waited for. */
"use strict";
class Away extends Error {}
class Refused extends Error {}

const link = (() => {
  const held = new Map();

  /* The answer to a GET as a value. Raises Away where no server answers, Refused (with its words) where it does but has nothing.
     `changed` of the result says whether it differs from the last answer to the same `key`. */
  async function get(path, query, key) {
    const address = path + (query ? "?" + new URLSearchParams(query) : "");
    const before = key ? held.get(key) : null;
    const headers = before && before.address === address ? {"If-None-Match": before.tag} : {};
    let answer, value;
    try {
      answer = await fetch(address, {headers, cache: "no-store", credentials: "omit", signal: AbortSignal.timeout(60000)});
      if (answer.status === 304) return {value: before.value, changed: false};
      value = await answer.json();
    } catch (error) {
      throw new Away(String(error));
    }
    if (!answer.ok) throw new Refused(value.error || answer.statusText);
    if (key && answer.headers.get("ETag")) held.set(key, {address, tag: answer.headers.get("ETag"), value});
    return {value, changed: true};
  }

  const forget = key => held.delete(key);
  return {get, forget};
})();
