"""What `engines.OpenAI` is made of: keys, requests, the cache of answers, pacing, the client and the bill."""
