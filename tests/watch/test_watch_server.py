"""The server: this machine alone, GET alone, its own files and answers alone; and the command that starts it."""

import json
import socket
import subprocess
import sys

import pytest
from as_user import ENVIRONMENT, start

from selfevo.cli import main
from selfevo.records import Row, Task, Trajectory, Turn


@pytest.fixture
def served(tmp_path, write, serving):
    run = write(tmp_path / "runs/a")
    run.iteration(0, 0.5)
    (tmp_path / "secret.txt").write_text("secret")
    return serving(tmp_path / "runs")


def test_it_listens_to_this_machine_alone(served):
    assert served.server.server_address[0] == "127.0.0.1"
    others = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)} - {"127.0.0.1"}
    for address in others:
        with socket.socket() as s:
            s.settimeout(2)
            assert s.connect_ex((address, served.port)) != 0


ELSEWHERE = ["evil.example", "evil.example:{port}", "127.0.0.1.evil.example", "localhost.evil.example:{port}", "", "[::2]"]


@pytest.mark.parametrize("host", ELSEWHERE)
def test_a_page_from_elsewhere_whose_name_leads_here_is_refused(served, host):
    status, _, body = served.ask("/api/runs", host=host.format(port=served.port))
    assert status == 403 and b"runs" not in body


@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "localhost:{port}", "localhost", "[::1]:{port}", "localhost:9999"])
def test_a_browser_here_or_at_the_end_of_a_tunnel_is_answered(served, host):
    assert served.ask("/api/runs", host=host.format(port=served.port))[0] == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE"])
def test_nothing_but_get_is_answered(served, method):
    status, headers, _ = served.ask("/api/runs", method=method)
    assert (status, headers["Allow"]) == (405, "GET")


PATHS = [
    "/../secret.txt", "/..%2f..%2fsecret.txt", "/%2e%2e/secret.txt", "//etc/passwd", "/etc/passwd", "/page.css/../../secret.txt",
    "/server.py", "/../server.py", "/api/runs/../../secret.txt", "/api/runs/..%2f..%2fsecret", "/api/runs/{id}/../../secret.txt",
    "/api/runs/{id}/_of",
    "/api/runs/{id}/close", "/api", "/api/", "/api/runs/", "/api/runs/{id}/tables/main.0/rollout.parquet",
]


@pytest.mark.parametrize("path", PATHS)
def test_no_address_leads_to_another_file(served, path):
    name = served.json("/api/runs")["rows"][0]["id"]
    status, _, body = served.ask(path.format(id=name))
    assert status == 404 and b"secret" not in body


def test_every_answer_forbids_what_the_page_does_not_need(served):
    for path in ("/", "/watch.js", "/api/runs", "/nowhere"):
        headers = served.ask(path)[1]
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
        assert headers["X-Content-Type-Options"] == "nosniff" and headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert headers["Referrer-Policy"] == "no-referrer" and "Access-Control-Allow-Origin" not in headers
    html = served.ask("/")[2].decode()
    assert "http" not in html and "<style" not in html and "onclick" not in html and html.count("<script ") == html.count("<script src=")


def test_what_did_not_change_is_not_sent_again(served, write, tmp_path):
    name = served.json("/api/runs")["rows"][0]["id"]
    for path in ("/api/runs", f"/api/runs/{name}", f"/api/curves?run={name}&x=seconds"):
        status, headers, body = served.ask(path)
        assert status == 200 and body
        again = served.ask(path, If_None_Match=headers["ETag"])
        assert (again[0], again[2]) == (304, b"")
    write(tmp_path / "runs/b")
    served.server.desk.overview()
    assert served.ask("/api/runs", If_None_Match=headers["ETag"])[0] == 200
    assert served.ask(f"/api/curves?run={name}&x=seconds", If_None_Match=headers["ETag"])[0] == 304, "the other run is not in these curves"


@pytest.mark.parametrize(("path", "status"), [
    ("/api/curves", 400), ("/api/curves?run=nowhere", 404), ("/api/curves?run={id}&x=cost", 400), ("/api/runs/nowhere", 404),
    ("/api/runs/{id}/trajectory", 400), ("/api/runs/{id}/trajectory?part=0&row=-1", 400), ("/api/runs/{id}/trajectory?part=0&row=0", 404),
    ("//[", 404), ("/api/runs/{id}/search", 400), ("/api/runs/{id}/trajectories?cursor=x.y.z", 200), ("/api/runs?since=minus", 200),
])  # fmt: skip
def test_a_wrong_question_is_answered_in_words(served, path, status):
    name = served.json("/api/runs")["rows"][0]["id"]
    found, _, body = served.ask(path.format(id=name))
    assert found == status and (status == 200 or json.loads(body)["error"])


def test_numbers_that_json_has_not_and_broken_text_are_no_trouble(tmp_path, write, serving):
    run = write(tmp_path / "a")
    run.commit("main.0", "evaluate", "evaluate", {"eval/sums/pass@1": float("nan"), "eval/x/pass@1": float("inf")})
    turn = Turn("policy", "\ud800 lone", (1, 2), context=(1,))
    row = Row.of(Trajectory("main.0/rollout/0.0", Task({"question": "\x00"}), "solver", "solver@000000", (turn,), "e"))
    try:
        run.put("main.0", "rollout", [row], judged=False)
        run.commit("main.0", "rollout", "rollout", {"rollout/reward": float("inf")}, table="rows")
    except UnicodeEncodeError:  # a table cannot hold it at all
        pass
    served = serving(tmp_path)
    name = served.json("/api/runs")["rows"][0]["id"]
    assert served.json(f"/api/runs/{name}")["gains"][0]["first"]["value"] is None
    served.json(f"/api/runs/{name}/trajectories")
    served.json(f"/api/curves?run={name}")


def refused(capsys, *arguments):
    status = main(["watch", *map(str, arguments)])
    err = capsys.readouterr().err
    assert status == 2 and err.count("\n") == 1, err
    return err


def test_mistakes_are_one_line_each(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "nothing to watch: there is neither outputs nor multirun" in refused(capsys)
    (tmp_path / "outputs").mkdir()
    assert "no such folder; did you mean 'outputs'?" in refused(capsys, "output")
    assert "did you mean 'port'?" in refused(capsys, "prt=3")
    assert "write port=8080" in refused(capsys, "--port=8080")
    for port in ("x", "-1", "65536"):
        assert f"port={port}: expected a number" in refused(capsys, f"port={port}")
    assert "expected true or false" in refused(capsys, "open=perhaps")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert f"port {port} is taken by another process" in refused(capsys, f"port={port}")


def test_the_help_fits_eighty_columns_and_says_how_to_call_it(capsys):
    assert main(["watch", "--help"]) == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80 and "selfevo watch DIR DIR port=8080" in text


def test_an_empty_folder_is_watched_and_ctrl_c_ends_it_well(tmp_path, write):
    process = start("watch", str(tmp_path), cwd=tmp_path)
    assert "no run there yet" in process.stdout.readline()
    line = process.stdout.readline()
    assert line.startswith("page: http://127.0.0.1:")
    process.send_signal(2)
    _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (0, "the page is closed; runs go on\n")


def test_it_starts_without_loading_torch(tmp_path):
    code = "import sys, selfevo.watch.server; from selfevo.watch.desk import Desk; from pathlib import Path; "
    code += "Desk([Path('.')]).overview({}); print([m for m in ('torch', 'pyarrow', 'vl_convert', 'hydra') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.stdout == "[]\n", done
