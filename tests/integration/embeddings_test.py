"""embeddings_test.py — texts as vectors: their form, what they depend on, and what they cost."""

import base64
import concurrent.futures
import json
import math
import struct
import unittest

import harness

TEXTS = ["The lamp is red.", "Ein roter Fuchs.", "One morning in Oslo, Ada counted ships."]
PRICES = {"currency": "USD", "models": {"*": {"default": {"input": "100", "output": "2000"}}}}


def dot(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))


class Embeddings(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = harness.Server().start()
        cls.addClassCleanup(cls.server.close)
        cls.tenant = cls.server.new_tenant("embeds")
        cls.key = cls.tenant.key
        cls.adapter = harness.demo_adapters()[0]
        cls.key.upload(cls.adapter, *harness.demo_package(cls.adapter)).expect(200, 201, 202)

    def embed(self, inputs, model=harness.BASE, key=None, **fields):
        return (key or self.key).post("/v1/embeddings", {"model": model, "input": inputs} | fields)

    def embed_ids(self, ids, **fields):
        """With the header that says which tokenizer they are of."""
        digest = self.key.get(f"/v1/models/{harness.BASE}").expect(200).json["tokenizer_sha256"]
        headers = self.key.headers(**{"Content-Type": "application/json",
                                      "X-Tokenizer-Sha256": digest})
        body = json.dumps({"model": harness.BASE, "input": ids} | fields).encode()
        return harness.exchange(self.server.api, "POST", "/v1/embeddings", body, headers)

    def vectors(self, inputs, **fields):
        data = self.embed(inputs, **fields).expect(200).json["data"]
        self.assertEqual([item["index"] for item in data], list(range(len(data))))
        return [item["embedding"] for item in data]

    def tokenize(self, text):
        return self.key.post("/v1/tokenize", {"model": harness.BASE, "prompt": text}).expect(
            200).json["tokens"]

    def test_an_answer_has_openais_form_and_unit_vectors(self):
        answer = self.embed(TEXTS).expect(200).json
        self.assertEqual(answer["object"], "list")
        self.assertEqual(answer["model"], harness.BASE)
        tokens = sum(len(self.tokenize(text)) for text in TEXTS)
        self.assertEqual(answer["usage"], {"prompt_tokens": tokens, "total_tokens": tokens})
        self.assertEqual({item["object"] for item in answer["data"]}, {"embedding"})
        for item in answer["data"]:
            self.assertAlmostEqual(math.hypot(*item["embedding"]), 1, places=5)

    def test_one_text_alone_and_among_others_has_the_same_vector(self):
        together = self.vectors(TEXTS)
        for text, vector in zip(TEXTS, together):
            self.assertEqual(self.vectors(text), [vector])
        with concurrent.futures.ThreadPoolExecutor(8) as pool:  # and beside other work
            stories = [pool.submit(self.key.chat, harness.BASE, text, max_tokens=20)
                       for text in TEXTS]
            again = list(pool.map(self.vectors, TEXTS * 4))
            self.assertTrue(all(story.result().status == 200 for story in stories))
        self.assertEqual(again, [[vector] for vector in together] * 4)

    def test_the_adapter_and_the_pooling_change_the_vector(self):
        [base], [adapted] = self.vectors(TEXTS[2]), self.vectors(TEXTS[2], model=self.adapter)
        [mean] = self.vectors(TEXTS[2], pooling="mean")
        self.assertLess(dot(base, adapted), 0.999)
        self.assertLess(dot(base, mean), 0.999)
        answer = self.embed(TEXTS[2], model=self.adapter).expect(200)
        self.assertEqual(answer.json["model"], f"{self.adapter}@1")
        self.assertEqual(answer.headers["x-adapter-version"], f"{self.adapter}@1")

    def test_the_mean_of_one_token_is_its_state(self):
        last = self.embed_ids([[7]]).expect(200).json["data"]
        self.assertEqual(self.embed_ids([[7]], pooling="mean").expect(200).json["data"], last)

    def test_base64_is_little_endian_float32_of_the_same_numbers(self):
        [numbers] = self.vectors(TEXTS[0])
        [text] = self.vectors(TEXTS[0], encoding_format="base64")
        raw = base64.b64decode(text, validate=True)
        self.assertEqual(list(struct.unpack(f"<{len(raw) // 4}f", raw)),
                         [struct.unpack("<f", struct.pack("<f", n))[0] for n in numbers])

    def test_dimensions_are_the_first_ones_of_length_one_again(self):
        [whole], [short] = self.vectors(TEXTS[0]), self.vectors(TEXTS[0], dimensions=8)
        length = math.hypot(*whole[:8])
        self.assertEqual(len(short), 8)
        for got, of_whole in zip(short, whole):
            self.assertAlmostEqual(got, of_whole / length, places=5)
        refused = self.embed(TEXTS[0], dimensions=len(whole) + 1)
        self.assertEqual((refused.status, refused.error["param"]), (400, "dimensions"))

    def test_token_ids_need_the_name_of_their_tokenizer(self):
        ids = self.tokenize(TEXTS[0])
        refused = self.embed(ids)
        self.assertEqual((refused.status, refused.error["code"], refused.error["param"]),
                         (400, "token_input_not_allowed", "input"))
        first = self.embed_ids([ids, ids[:2]]).expect(200).json["data"][0]["embedding"]
        self.assertEqual([first], self.vectors(TEXTS[0]))

    def test_what_is_wrong_is_named(self):
        for fields, param in (({"input": ""}, "input"), ({"input": []}, "input"),
                              ({"input": ["a", ""]}, "input"), ({"input": 7}, "input"),
                              ({"input": ["a"] * 2049}, "input"),
                              ({"encoding_format": "hex"}, "encoding_format"),
                              ({"pooling": "max"}, "pooling"), ({"dimensions": 0}, "dimensions"),
                              ({"input": "long " * 3000}, "input"), ({"n": 2}, "n"),
                              ({"model": "nobody"}, "model")):
            with self.subTest(param=param, fields=str(fields)[:40]):
                refused = self.key.post("/v1/embeddings",
                                        {"model": harness.BASE, "input": "a"} | fields)
                self.assertIn(refused.status, (400, 404))
                self.assertEqual(refused.error["param"], param)

    def test_more_texts_than_the_engine_holds_at_a_time(self):
        server = harness.Server("--max-queue", "80").start()
        self.addCleanup(server.close)
        key = server.new_tenant("many").key
        texts = [f"Text {i}" for i in range(300)]
        data = self.embed(texts, key=key).expect(200).json["data"]
        self.assertEqual(len(data), 300)
        self.assertEqual([data[i]["embedding"] for i in (0, 150, 299)],
                         self.vectors([texts[0], texts[150], texts[299]]))

    def test_tokens_are_billed_once_and_reserved_before(self):
        prices = harness.scratch() / "embedding-prices.json"
        prices.write_text(json.dumps(PRICES))
        server = harness.Server("--prices", prices).start()
        self.addCleanup(server.close)
        tenant = server.new_tenant("billed")
        tokens = self.embed(TEXTS, key=tenant.key).expect(200).json["usage"]["total_tokens"]
        page = server.admin.get("/v1/organization/usage/embeddings?start_time=0").expect(200).json
        [usage] = [result for bucket in page["data"] for result in bucket["results"]]
        self.assertEqual((usage["num_model_requests"], usage["input_tokens"]), (1, tokens))
        self.assertEqual(server.usage(project_id=tenant.id), [])
        costs = server.admin.get("/v1/organization/costs?start_time=0").expect(200).json
        [cost] = [result for bucket in costs["data"] for result in bucket["results"]]
        self.assertEqual(cost["amount"]["value_pico_usd"], tokens * 100 * 10**6)
        server.set_limits(tenant.id, max_tokens_per_1_minute=tokens // 2)
        refused = self.embed(TEXTS, key=tenant.key)
        self.assertIn(refused.status, (400, 429))


if __name__ == "__main__":
    unittest.main()
