"""cve_test.py — what has brought other servers down or open, asked of this one: one test a number.

The numbers are vLLM's, LiteLLM's and llama.cpp's; what each was stands in its test. Those that need
a feature this server has not (pickled tensors, images, embeddings as prompts, speculation) are
here as the refusal of that feature. After each test the server has to answer a stranger's victim.
"""

import http.client
import json
import re
import socket
import statistics
import string
import time
import unittest

import harness
import packages

CHAT = "/v1/chat/completions"
POINTER = re.compile(rb"0x[0-9a-f]{6,}|/(home|usr|var|root)/", re.I)
# Those that concern a server like this one; a test's name has each, or the last part of it.
NUMBERS = """2025-48956 2025-48944 2025-59425 2025-62426 mgrm-fgjv-mhv8 2026-22778 2026-22773
2026-24779 2026-34756 2026-44223 2026-9540 best_of empty_prompt 2025-32444 24357 47277 30165 29783
2025-25183 2025-46570 2025-48887 2025-48942 2025-48943 2025-61620 2025-6242 2025-62164 2025-62372
2026-42208 2026-47101 2026-47102 2026-40217 2024-6587 2026-42271 2026-27940 33298 7482 2026-21869"""
REQUEST_ID = re.compile(rb"req_[0-9A-Z]{26}")  # letters and digits of any kind, 0X too


class Cve(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = harness.Server().start()
        cls.addClassCleanup(cls.server.close)
        cls.tenant = cls.server.new_tenant("attacker", max_requests_per_1_minute=1_000_000,
                                           max_tokens_per_1_minute=100_000_000)
        cls.key = cls.tenant.key
        cls.victim = cls.server.new_tenant("victim").key

    def tearDown(self):
        self.victim.chat(harness.BASE, "Hello!", max_tokens=2).expect(200)

    def chat(self, **fields):
        return self.key.chat(harness.BASE, "Hello!", **({"max_tokens": 2} | fields))

    def refused(self, answer, *statuses):
        """With a status of the client's fault, a code, and nothing of the server's inside."""
        answer.expect(*(statuses or (400,)))
        self.assertTrue(answer.error["code"])
        self.assertNotRegex(REQUEST_ID.sub(b"", answer.body), POINTER)
        return answer

    # --- vLLM

    def test_cve_2025_48956_a_header_of_any_size(self):
        lines = b"".join(b"X-%d: %s\r\n" % (i, b"a" * 1000) for i in range(1000))
        with socket.create_connection(self.server.api, timeout=10) as connection:
            connection.sendall(b"GET /v1/models HTTP/1.1\r\nHost: t\r\n")
            try:
                connection.sendall(lines)
            except (BrokenPipeError, ConnectionResetError):
                pass  # it has answered and closed
            self.assertIn(b" 431 ", connection.recv(4096)[:32])

    def test_cve_2025_48944_a_tool_whose_pattern_or_type_is_malformed(self):
        for broken in ({"type": "string", "pattern": "[a-z"}, {"type": "something"},
                       {"type": ["string", 7]}, {"type": {"a": 1}}, {"pattern": 7},
                       {"type": "string", "pattern": "(?P<x"}, {"type": "number", "minimum": "a"}):
            tool = {"type": "function", "function": {
                "name": "f", "strict": True,
                "parameters": {"type": "object", "properties": {"x": broken}, "required": ["x"],
                               "additionalProperties": False}}}
            with self.subTest(broken):
                self.refused(self.chat(tools=[tool], tool_choice="required"))
                self.refused(self.chat(response_format={"type": "json_schema", "json_schema": {
                    "name": "n", "schema": {"type": "object", "properties": {"x": broken}}}}))

    def test_cve_2025_48942_a_schema_that_is_no_schema(self):
        for schema in (7, "string", [1], {"type": "object", "properties": 3},
                       {"$ref": "#/nowhere"}, {"allOf": 5}, {"enum": []}):
            with self.subTest(schema):
                self.refused(self.chat(response_format={
                    "type": "json_schema", "json_schema": {"name": "n", "schema": schema}}))

    def test_cve_2025_48943_a_regex_that_is_no_regex(self):
        for regex in ("[", "(", "a{2,1}", "*", "(?<!", "\\", "[z-a]"):
            with self.subTest(regex):
                self.refused(self.chat(guided_regex=regex))

    def test_cve_2025_48887_a_regex_that_backtracks(self):
        began = time.monotonic()
        answer = self.chat(guided_regex="(a+)+b", max_tokens=4)
        self.assertIn(answer.status, (200, 400))
        answer = self.chat(guided_regex="^(([a-z])+.)+[A-Z]([a-z])+$", max_tokens=4)
        self.assertIn(answer.status, (200, 400))
        text = "[" + "f(" * 20000  # of a call, as a tool parser would read it
        self.assertIn(self.key.chat(harness.BASE, text[:600], max_tokens=2).status, (200, 400))
        self.assertLess(time.monotonic() - began, 20)

    def test_cve_2025_59425_the_time_of_a_wrong_key_tells_nothing(self):
        """A key that is right but for its last characters, and one that is wrong from the first."""
        right = self.key.key
        other = {True: "0", False: "1"}
        keys = {"near": right[:-1] + other[right[-1] != "0"],
                "far": "sk-live-" + "0" * (len(right) - 8)}
        times = {name: [] for name in keys}
        connection = http.client.HTTPConnection(*self.server.api, timeout=10)
        self.addCleanup(connection.close)
        for _ in range(300):
            for name, key in keys.items():
                began = time.perf_counter_ns()
                connection.request("GET", "/v1/models", headers={"Authorization": f"Bearer {key}"})
                answer = harness.read_answer(connection.getresponse())
                times[name].append(time.perf_counter_ns() - began)
                self.assertEqual(answer.status, 401)
        near, far = (statistics.median(times[name]) for name in ("near", "far"))
        self.assertLess(abs(near - far) / far, 0.5)

    def test_cve_2025_62426_template_arguments_that_hold_the_server_up(self):
        for arguments in ({"chat_template": "{% for i in range(10**9) %}{% endfor %}"},
                          {"messages": []}, {"x": "a" * 100_000}, [1], "x"):
            with self.subTest(str(arguments)[:40]):
                self.refused(self.chat(chat_template_kwargs=arguments))
        plain = self.chat().expect(200).json["usage"]
        asked = self.chat(chat_template_kwargs={"tokenize": True}).expect(200).json["usage"]
        self.assertEqual(asked["prompt_tokens"], plain["prompt_tokens"])  # a variable, no more

    def test_cve_2025_61620_a_template_of_the_client(self):
        self.refused(self.chat(chat_template="{% for i in range(10**9) %}{% endfor %}"))

    def test_ghsa_mgrm_fgjv_mhv8_constraints_that_fill_the_disk(self):
        before = sum(file.stat().st_size for file in self.server.data.rglob("*")
                     if file.is_file() and file.parent.name != "store")
        for i in range(200):
            self.chat(guided_regex=f"(a|b){{{i + 1}}}c{i}", max_tokens=1)
        after = sum(file.stat().st_size for file in self.server.data.rglob("*")
                    if file.is_file() and file.parent.name != "store")
        self.assertLess(after - before, 64 * 1024)

    def test_cve_2026_22778_an_error_that_tells_an_address(self):
        for url in ("data:image/png;base64,AAAA", "https://example.org/a.png",
                    "file:///etc/passwd"):
            message = [{"role": "user", "content": [{"type": "image_url",
                                                     "image_url": {"url": url}}]}]
            self.refused(self.chat(messages=message))

    def test_cve_2026_22773_an_image_of_one_pixel(self):
        pixel = ("data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42m"
                 "NkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==")
        part = {"type": "image_url", "image_url": {"url": pixel}}
        self.refused(self.chat(messages=[{"role": "user", "content": [part]}]))

    def test_cve_2026_24779_and_cve_2025_6242_no_address_in_a_request_is_fetched(self):
        with socket.create_server(("127.0.0.1", 0)) as trap:
            trap.settimeout(1)
            host, port = trap.getsockname()
            for url in (f"http://{host}:{port}/x", f"http://example.org\\@{host}:{port}/",
                        f"http://{host}:{port}#@example.org"):
                for part in ({"type": "image_url", "image_url": {"url": url}},
                             {"type": "input_audio", "input_audio": {"data": url, "format": "wav"}},
                             {"type": "file", "file": {"file_data": url}}):
                    self.refused(self.chat(messages=[{"role": "user", "content": [part]}]))
            with self.assertRaises(TimeoutError):
                trap.accept()

    def test_cve_2026_34756_n_without_bound(self):
        for n in (9, 16384, 10**9, 2**63, -1, 0, 1.5, "8"):
            with self.subTest(n):
                self.refused(self.chat(n=n))

    def test_best_of_without_bound(self):
        for best_of in (21, 10**9, -1):
            self.refused(self.key.post("/v1/completions", {
                "model": harness.BASE, "prompt": "a", "best_of": best_of, "max_tokens": 1}))

    def test_an_empty_prompt(self):
        for prompt in ("", [], [[]], [""]):
            answer = self.key.post("/v1/completions", {"model": harness.BASE, "prompt": prompt,
                                                       "max_tokens": 1})
            self.assertIn(answer.status, (200, 400))
        self.refused(self.chat(messages=[]))

    def test_cve_2026_44223_and_cve_2026_9540_parameters_together(self):
        values = {"frequency_penalty": (-2, 2), "presence_penalty": (-2, 2), "top_p": (0, 1),
                  "repetition_penalty": (0.01, 100), "temperature": (0, 2), "top_k": (-1, 1),
                  "min_p": (0, 1), "n": (1, 2), "logprobs": (True, False), "min_tokens": (0, 2),
                  "ignore_eos": (True, False), "seed": (0, -1)}
        names = list(values)
        for i, first in enumerate(names):
            for second in names[i + 1:]:
                for pick in range(4):
                    fields = {first: values[first][pick & 1], second: values[second][pick >> 1]}
                    answer = self.chat(**fields)
                    self.assertEqual(answer.status, 200, (fields, answer.body))

    def test_cve_2025_62164_and_cve_2025_62372_tensors_as_prompts(self):
        for field in ("prompt_embeds", "mm_processor_kwargs", "kv_transfer_params"):
            self.refused(self.chat(**{field: "gAJjb3MKc3lzdGVtCg=="}))

    def test_pickles_of_cve_2025_32444_24357_47277_30165_29783_for_an_adapter(self):
        config = b'{"peft_type": "LORA"}'
        self.refused(self.key.upload("bot", config, b"\x80\x04\x95\x10\x00\x00\x00."), 400, 422)
        self.refused(self.key.upload("bot", b"\x80\x04\x95\x10\x00\x00\x00.", b"x" * 16), 400, 422)

    def test_headers_that_lie_of_cve_2026_27940_33298_7482_make_no_room_and_read_nothing(self):
        config, good = packages.package()
        name = packages.FIRST_A
        lies = {"exabytes of a shape": {"shape": [2**30, 2**30], "data_offsets": [0, 2**62]},
                "a product beyond 64 bits": {"shape": [2**32, 2**32], "data_offsets": [0, 0]},
                "an end behind the file": {"data_offsets": [0, len(good) * 1000]},
                "a beginning behind its end": {"data_offsets": [4096, 0]},
                "a negative offset": {"data_offsets": [-4096, 0]}}
        before = self.server.resident_bytes()
        for what, lie in lies.items():
            with self.subTest(what):
                contents = packages.tensors()
                header = packages.header_of(contents)
                header[name] |= lie
                data = b"".join(each for _, _, each in contents.values())
                answer = self.key.upload("liar", config, packages.container(header, data))
                self.refused(answer, 400, 422)
        self.assertLess(self.server.resident_bytes() - before, 64 << 20)

    def test_cve_2025_25183_and_cve_2025_46570_a_cached_prefix_is_its_tenants(self):
        prompt = "A long beginning, " + "the same words again and again, " * 12
        for _ in range(2):
            mine = self.key.chat(harness.BASE, prompt, max_tokens=1).expect(200).json
        other = self.victim.chat(harness.BASE, prompt, max_tokens=1).expect(200).json
        self.assertGreater(mine["usage"]["prompt_tokens_details"]["cached_tokens"], 0)
        self.assertEqual(other["usage"]["prompt_tokens_details"]["cached_tokens"], 0)

    # --- LiteLLM

    def test_cve_2026_42208_a_key_that_is_a_command(self):
        for key in ("' OR 1=1 --", "sk-live-' UNION SELECT * FROM keys --", "sk-live-%00", "*",
                    "sk-live-../../admin.key", "a" * 8000, "\x7f\x80\xff", "{}", "null"):
            with self.subTest(key[:40]):
                with socket.create_connection(self.server.api, timeout=10) as connection:
                    connection.sendall(
                        b"GET /v1/models HTTP/1.1\r\nHost: t\r\nConnection: close\r\n"
                        b"Authorization: Bearer " + key.encode("latin-1") + b"\r\n\r\n")
                    answer = connection.recv(65536)
                self.assertRegex(answer[:12], rb"HTTP/1.1 40[01]")
                self.assertNotIn(b'"object":"list"', answer)

    def test_cve_2026_47101_and_cve_2026_47102_a_key_that_makes_a_stronger_one(self):
        made = self.server.admin.post(
            f"/v1/organization/projects/{self.tenant.id}/service_accounts",
            {"name": "maker"}).expect(200).json["id"]
        path = f"/v1/organization/projects/{self.tenant.id}/service_accounts/{made}/api_keys"
        weak = self.server.admin.post(path, {
            "name": "weak", "scopes": ["api.key.write", "api.tenant.read"]}).expect(200, 201).json
        weak = harness.Client(self.server, weak["value"])
        for scopes in (["api.admin"], ["api.model.request"], ["api.adapter.write", "api.admin"],
                       ["*"], ["api.key.write", "api.model.request"]):
            answer = weak.post("/v1/tenant/api_keys", {"name": "strong", "scopes": scopes})
            self.refused(answer, 400, 403)
        for extra in ({"is_admin": True}, {"tenant": "other"}, {"kind": "admin"},
                      {"project_id": "proj_other"}, {"role": "proxy_admin"}):
            answer = weak.post("/v1/tenant/api_keys",
                               {"name": "strong", "scopes": ["api.tenant.read"]} | extra)
            self.refused(answer, 400, 403)

    def test_cve_2026_40217_a_key_that_changes_itself(self):
        own = f"/v1/tenant/api_keys/{self.key.key_id}"
        for fields in ({"scopes": ["api.admin"]}, {"is_admin": True}, {"user_role": "proxy_admin"}):
            self.refused(self.key.post(own, fields), 400, 403)
        self.refused(self.key.post("/v1/organization/projects", {"name": "mine"}), 403)

    def test_cve_2024_6587_an_address_to_send_the_key_to(self):
        with socket.create_server(("127.0.0.1", 0)) as trap:
            trap.settimeout(1)
            base = "http://%s:%d" % trap.getsockname()
            for field in ("api_base", "base_url", "custom_llm_provider", "user_config"):
                self.refused(self.chat(**{field: base}))
            with self.assertRaises(TimeoutError):
                trap.accept()

    def test_cve_2026_42271_a_command_in_a_request(self):
        for path in ("/mcp-rest/test/connection", "/v1/mcp/server", "/config/update",
                     "/key/generate", "/invocations", "/pause", "/collective_rpc",
                     "/reset_prefix_cache", "/sleep", "/v1/load_lora_adapter"):
            answer = self.key.post(path, {"command": "id"})
            self.refused(answer, 404)

    # --- llama.cpp

    def test_cve_2026_21869_a_negative_count(self):
        for field in ("max_tokens", "max_completion_tokens", "top_logprobs", "min_tokens",
                      "n_discard", "n_keep", "top_k", "n"):
            for value in (-2, -2**31, -2**63):
                with self.subTest(field=field, value=value):
                    self.refused(self.chat(**{"logprobs": True, field: value}))

    # --- what a body can be that no parser should choke on

    def test_every_number_of_the_list_has_a_test(self):
        names = " ".join(name for name in dir(self) if name.startswith("test_"))
        for number in NUMBERS.split():
            self.assertIn(number.lower().replace("-", "_"), names)

    def test_json_bombs_are_refused_at_once(self):
        deep = b'{"model":"m","messages":' + b"[" * 200_000 + b"]" * 200_000 + b"}"
        wide = b'{"model":"m","messages":[' + b",".join([b"{}"] * 400_000) + b"]}"
        digits = b'{"model":"m","max_tokens":' + b"9" * 1_000_000 + b"}"
        names = b'{"model":"m",' + b",".join(b'"%d":0' % i for i in range(200_000)) + b"}"
        twice = b'{"model":"m","model":"n","messages":[]}'
        for body in (deep, wide, digits, names, twice, b'{"model":"\\ud800","messages":[]}',
                     b"\xff\xfe{}", b"\xef\xbb\xbf{}", b"NaN", b"", b"{" * 100_000):
            began = time.monotonic()
            answer = harness.exchange(self.server.api, "POST", CHAT, body,
                                      self.key.headers(**{"Content-Type": "application/json"}))
            self.refused(answer, 400, 413)
            self.assertLess(time.monotonic() - began, 5, body[:30])

    def test_names_with_control_characters_stay_out_of_headers_and_logs(self):
        name = "a\r\nX-Evil: 1\x1b[31m" + string.punctuation
        self.refused(self.key.chat(name, "Hello!"), 400, 404)
        self.assertNotIn("\x1b[31m", self.server.log.read_text(errors="replace"))
        for line in self.server.log.read_text().splitlines():
            if line.startswith("{"):
                json.loads(line)


if __name__ == "__main__":
    unittest.main()
