"""`amazon-sandbox`, as far as it refuses to start."""

import socket

import pytest

from sandbox.__main__ import main


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--port", "65536"], "--port is a number from 0 to 65535"),
        (["--port", "-1"], "--port is a number from 0 to 65535"),
        (["--port", "http"], "invalid int value"),
        (["--listings", "-1"], "--listings cannot be less than 0"),
    ],
)
def test_what_cannot_be_is_refused_with_a_sentence(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert says in capsys.readouterr().err


def test_a_port_that_is_taken_is_named(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("signal.signal", lambda *_: None)  # or Ctrl-C would not end the tests any more
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["--port", str(port)]) == 1
    assert f"The sandbox cannot start on 127.0.0.1:{port}: " in capsys.readouterr().err
