"""What docs/public.md promises: a tunnel, a Space, a server behind nginx, as far as one machine can
show them. A tunnel is its headers: it connects from loopback and says who its reader is."""

import re
import subprocess

import pytest
from huggingface_hub import RepoCard

from tests.deployment.proxy import make_certificate, needs_nginx, proxy
from tests.server import ROOT, fake, serve

GUIDE = (ROOT / "docs" / "public.md").read_text(encoding="utf-8")
NAMES = ("odd-words-here.trycloudflare.com", "1a2b.ngrok-free.app", "you-continuo.hf.space")
FEW = {"prompt": "x", "max_tokens": 3}


def of(reader, name=NAMES[0]):
    return {"Host": name, "X-Forwarded-For": reader, "X-Forwarded-Proto": "https"}


@pytest.fixture(scope="module")
def server():
    frames = re.search(r"CONTINUO_FRAMES=(\S+)", GUIDE)[1]
    with serve(fake(), public="true", frames=frames) as server:
        yield server


@pytest.mark.parametrize("name", NAMES)
def test_a_tunnels_name_is_answered(server, name):
    assert server.get("/", headers=of("203.0.113.1", name)).status_code == 200
    posted = server.post(
        "/generate",
        data={"prompt": "x"},
        headers=of("203.0.113.1", name) | {"Origin": f"https://{name}"},
    )
    assert posted.status_code == 200, "the page's form, without scripts"


def test_each_reader_of_a_tunnel_has_a_limit_of_their_own(server):
    """Behind a tunnel all connections come from this machine."""
    statuses = [
        server.post("/generate", json=FEW, headers=of("203.0.113.2")).status_code for _ in range(62)
    ]
    assert statuses[:30] == [200] * 30 and 429 in statuses
    assert server.post("/generate", json=FEW, headers=of("203.0.113.3")).status_code == 200


def test_a_space_may_show_the_page_in_its_frame(server):
    policy = server.get("/", headers=of("203.0.113.4")).headers["Content-Security-Policy"]
    assert "frame-ancestors https://huggingface.co" in policy


def test_a_spaces_readme_names_the_port_of_the_image():
    card = RepoCard.load(ROOT / "deployment" / "space.md").data
    image = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert card.sdk == "docker"
    assert f"EXPOSE {card.app_port}\n" in image
    assert "--uid 1000" in image, "a Space runs its image as this user"


def test_what_a_space_is_made_of_is_in_the_repository(tmp_path):
    """All that the Dockerfile copies, in what `git archive` gives."""
    archive = subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, capture_output=True, check=True)
    subprocess.run(["tar", "-x", "-C", tmp_path], input=archive.stdout, check=True)
    image = (tmp_path / "Dockerfile").read_text(encoding="utf-8")
    for copied in re.findall(r"^COPY (?!--from)(?:--\S+ )?(.+) \S+$", image, re.MULTILINE):
        for pattern in copied.split():
            assert list(tmp_path.glob(pattern)), pattern
    assert list((tmp_path / "models" / "starter").glob("*.safetensors"))


@needs_nginx
def test_a_small_server_under_a_path_over_tls(tmp_path):
    """The location that the guide shows, beside what a site has at its root."""
    [location] = re.findall(r"^location /write/ \{.*?^\}$", GUIDE, re.MULTILINE | re.DOTALL)
    settings = {"proxies": 1, "hosts": "write.example.org", "limit_per_address": "30/minute"}

    def a_site_of_its_own(text):
        there = location + "\nlocation / {\nreturn 404;"
        return re.sub(r"location / \{\s+proxy_pass http://continuo;", lambda _: there, text)

    with (
        serve(fake(), **settings) as server,
        proxy([server.address], a_site_of_its_own, make_certificate(tmp_path)) as front,
    ):
        page = front.get("/write/")
        assert page.status_code == 200 and 'src="/' not in page.text
        assert front.post("/write/generate", json=FEW).json()["text"] == " la"
        origin = {"Origin": "https://write.example.org", "Host": "write.example.org"}
        assert (
            front.post("/write/generate", data={"prompt": "x"}, headers=origin).status_code == 200
        )
        assert front.get("/").status_code == 404
