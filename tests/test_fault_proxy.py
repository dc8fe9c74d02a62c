"""The proxy between http.client, which keeps connections alive, and a server that counts what it did."""

import http.client
import http.server
import threading

import pytest

from command_line import wait_until
from fault_proxy import Answer, Cut, CutAnswer, CutRequest, Delay, FaultProxy, Late, LoseAnswer, Pass, Slow


class Counter(http.server.ThreadingHTTPServer):
    """Says what it was sent and by which name, and keeps a list of it."""

    daemon_threads = True

    def __init__(self):
        self.bodies = []
        super().__init__(("127.0.0.1", 0), CounterHandler)


class CounterHandler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self._chunks() if self.headers["Transfer-Encoding"] else self._sized()
        if body is None:
            return
        self.server.bodies.append(body)
        answer = self.headers["Host"].encode() + b" took " + body
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"until the end")
        self.close_connection = True

    def do_HEAD(self):
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()

    def _sized(self):
        size = int(self.headers["Content-Length"])
        body = self.rfile.read(size)
        return body if len(body) == size else None

    def _chunks(self):
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with Counter() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def proxy(server):
    with FaultProxy(server.server_port) as proxy:
        yield proxy


@pytest.fixture
def client(proxy):
    client = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=60)
    yield client
    client.close()


def post(client, body=b"x", **headers):
    client.request("POST", "/things?a=1", body, headers)
    answer = client.getresponse()
    return answer.status, answer.read()


def test_requests_of_one_connection_pass_one_after_the_other(server, proxy, client):
    connections = set()
    for index in range(3):
        status, answer = post(client, f"{index}".encode())
        connections.add(client.sock)
        assert (status, answer) == (200, f"127.0.0.1:{proxy.port} took {index}".encode())
    assert len(connections) == 1
    assert server.bodies == [b"0", b"1", b"2"]
    assert [(seen.method, seen.path, seen.fault) for seen in proxy.requests()] == [("POST", "/things?a=1", Pass())] * 3


def test_all_ways_to_frame_a_message_keep_the_connection(server, client):
    client.request("HEAD", "/")
    answer = client.getresponse()
    answer.read()
    assert answer.headers["Content-Length"] == "1000"
    client.request("GET", "/")
    assert client.getresponse().read() == b"until the end"
    assert post(client, iter([b"in ", b"chunks"]))[0] == 200
    assert post(client, b"promised", Expect="100-continue")[0] == 200
    assert server.bodies == [b"in chunks", b"promised"]


def test_the_host_can_be_replaced(server):
    with FaultProxy(server.server_port, host="example.org") as proxy:
        client = http.client.HTTPConnection("127.0.0.1", proxy.port)
        assert post(client) == (200, b"example.org took x")
        client.close()


def test_a_status_is_answered_so_often_and_the_server_hears_nothing(server, proxy, client):
    proxy.inject(Answer(503), count=2)
    proxy.inject(Answer(500), count=1)
    assert [post(client)[0] for _ in range(4)] == [503, 503, 500, 200]
    assert len(server.bodies) == 1


def test_a_share_is_the_same_for_the_same_seed(server):
    drawn = []
    for _ in range(2):
        with FaultProxy(server.server_port, seed=5) as proxy:
            proxy.inject(Answer(500), share=0.5)
            client = http.client.HTTPConnection("127.0.0.1", proxy.port)
            drawn.append([post(client)[0] for _ in range(20)])
            client.close()
    assert drawn[0] == drawn[1]
    assert set(drawn[0]) == {200, 500}


def test_only_requests_that_match_are_disturbed(proxy, client):
    proxy.inject(Answer(500), matches=lambda request: request.method == "HEAD")
    assert post(client)[0] == 200
    client.request("HEAD", "/")
    assert client.getresponse().status == 500


@pytest.mark.parametrize(
    ("fault", "done"),
    [(LoseAnswer(), [b"x"]), (CutAnswer(20), [b"x"]), (Cut(), []), (CutRequest(40), [])],
)
def test_a_cut_connection_is_an_error_to_the_client(server, proxy, client, fault, done):
    """Whether the server did what it was asked for depends on where the cut was; the client cannot know."""
    proxy.inject(fault, count=1)
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        post(client)
    client.close()
    assert server.bodies == done
    assert post(client)[0] == 200
    assert [seen.fault for seen in proxy.requests(type(fault))] == [fault]


def test_a_late_request_is_done_when_its_client_is_long_gone(server, proxy, client):
    proxy.inject(Late(), count=1)
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        post(client, b"late")
    client.close()
    post(client, b"in time")
    proxy.clear()
    assert server.bodies == [b"in time", b"late"]


def test_a_body_cut_in_its_middle_is_incomplete(proxy, client):
    proxy.inject(CutAnswer(10_200), count=1)
    client.request("POST", "/", b"x" * 20_000)
    answer = client.getresponse()
    with pytest.raises((ConnectionError, http.client.IncompleteRead)):
        answer.read()


def test_an_answer_is_held_until_the_proxy_is_cleared(server, proxy, client):
    proxy.inject(Delay(3600))
    answers = []
    asking = threading.Thread(target=lambda: answers.append(post(client)))
    asking.start()
    wait_until(lambda: server.bodies)
    assert answers == []
    proxy.clear()
    asking.join()
    assert answers[0][0] == 200
    assert post(client)[0] == 200


def test_a_delay_ends_by_itself(proxy, client):
    proxy.inject(Delay(0.01), count=1)
    assert post(client)[0] == 200


def test_a_slow_connection_brings_everything(server, proxy, client):
    proxy.inject(Slow(1_000_000), count=1)
    status, answer = post(client, b"x" * 100_000)
    assert (status, len(answer) > 100_000, len(server.bodies[0])) == (200, True, 100_000)


def test_connections_are_refused_and_taken_again_on_the_same_port(server, proxy, client):
    assert post(client)[0] == 200
    proxy.refuse()
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        post(client)
    client.close()
    with pytest.raises(ConnectionRefusedError):
        post(client)
    client.close()
    proxy.accept()
    assert post(client)[0] == 200
    assert len(server.bodies) == 2


def test_a_server_that_is_gone_is_a_cut_connection(server, proxy, client):
    proxy.target_port = FaultProxy(0).port  # a port that refuses
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        post(client)
