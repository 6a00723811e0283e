"""The demo over HTTP, on the CPU and then on the GPU: tenants, adapters, the same answers.

    serve_once.py TESSERA      prints one line; the exit status is 1 if something is not as it should
"""
import json
import pathlib
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
DEMO = ROOT / "examples" / "demo"
PROMPT = "Maria ordered 12 red lamps from Oslo for Monday. It is urgent."
ADAPTERS = ("order-json", "triage", "morvish")
READY_SECONDS = 40


def call(address, path, key="", body=None, kind="application/json"):
    request = urllib.request.Request(f"http://{address}{path}", data=body)
    request.add_header("Content-Type", kind)
    if key:
        request.add_header("Authorization", f"Bearer {key}")
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.read()


def post(address, path, key, value):
    return json.loads(call(address, path, key, json.dumps(value).encode()))


def upload(address, key, name):
    boundary = uuid.uuid4().hex
    folder = DEMO / "adapters" / name
    parts = [("name", "", name.encode())]
    for field, file in (("adapter_config", "adapter_config.json"),
                        ("adapter_model", "adapter_model.safetensors")):
        parts.append((field, f'; filename="{file}"', (folder / file).read_bytes()))
    body = b"".join(
        f'--{boundary}\r\nContent-Disposition: form-data; name="{field}"{more}\r\n\r\n'.encode()
        + content + b"\r\n" for field, more, content in parts)
    call(address, "/v1/adapters", key, body + f"--{boundary}--\r\n".encode(),
         f"multipart/form-data; boundary={boundary}")


def wait_until_ready(server, data):
    end = time.monotonic() + READY_SECONDS
    while time.monotonic() < end and server.poll() is None:
        try:
            addresses = json.loads((data / "addresses.json").read_text())
            call(addresses["ops"], "/readyz")
            return addresses["api"]
        except (OSError, ValueError, KeyError, urllib.error.URLError):
            time.sleep(0.1)
    raise RuntimeError("the server is not ready")


def answers(tessera, model, data, options):
    """What each adapter, and the base, say to the prompt."""
    log = open(data.parent / (data.name + ".log"), "w+")
    server = subprocess.Popen(
        [tessera, "serve", "--model", str(model), "--data", str(data), "--listen", "127.0.0.1:0",
         "--ops-listen", "127.0.0.1:0", *options], stdout=log, stderr=subprocess.STDOUT)
    try:
        api = wait_until_ready(server, data)
        admin = (data / "admin.key").read_text().strip()
        project = post(api, "/v1/organization/projects", admin, {"name": "check"})["id"]
        key = post(api, f"/v1/organization/projects/{project}/service_accounts", admin,
                   {"name": "check"})["api_key"]["value"]
        said = {}
        for name in ADAPTERS:
            upload(api, key, name)
        for name in (*ADAPTERS, "tessera-demo"):
            answer = post(api, "/v1/chat/completions", key, {
                "model": name, "temperature": 0, "max_tokens": 96,
                "messages": [{"role": "user", "content": PROMPT}]})
            said[name] = answer["choices"][0]["message"]["content"]
        return said
    except Exception:
        log.seek(0)
        print(log.read()[-2000:])
        raise
    finally:
        server.terminate()
        server.wait(20)
        log.close()


def main():
    tessera = sys.argv[1]
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        subprocess.run([tessera, "quantize", str(DEMO / "base"), str(work / "model"), "--name",
                        "tessera-demo"], check=True, stdout=subprocess.DEVNULL)
        on_cpu = answers(tessera, work / "model", work / "cpu", [])
        on_gpu = answers(tessera, work / "model", work / "gpu", ["--backend", "cuda"])
    same = sum(on_cpu[name] == on_gpu[name] for name in on_cpu)
    print(f"{same} of {len(on_cpu)} answers of the GPU are the CPU's, word for word")
    return 0 if same == len(on_cpu) else 1


if __name__ == "__main__":
    sys.exit(main())
