"""openai_guided_test.py — constrained answers by way of the unmodified client."""

import json
import unittest

import harness

try:
    import openai
    import pydantic
except ImportError:
    openai = None


@unittest.skipIf(openai is None, "the openai package is not installed")
class OpenAiGuided(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = harness.Server().start()
        cls.addClassCleanup(cls.server.close)
        host, port = cls.server.api
        key = cls.server.new_tenant("guided").key.key
        cls.client = openai.OpenAI(api_key=key, base_url=f"http://{host}:{port}/v1")
        cls.addClassCleanup(cls.client.close)

    def fields(self, **more):
        return {"model": harness.BASE, "max_tokens": 200, "seed": 3,
                "messages": [{"role": "user", "content": "Clara got 8 black books."}]} | more

    def test_a_pydantic_model_comes_back_as_itself(self):
        class Order(pydantic.BaseModel):
            item: str = pydantic.Field(max_length=10)
            quantity: int = pydantic.Field(ge=1, le=99)
            gift: bool

        answer = self.client.chat.completions.parse(**self.fields(response_format=Order))
        order = answer.choices[0].message.parsed
        self.assertIsInstance(order, Order)
        self.assertTrue(1 <= order.quantity <= 99)

    def test_the_other_forms_go_through_extra_body(self):
        answer = self.client.chat.completions.create(**self.fields(
            extra_body={"structured_outputs": {"choice": ["yes", "no"]}}))
        self.assertIn(answer.choices[0].message.content, ("yes", "no"))

    def test_a_refused_schema_is_a_bad_request_with_its_details(self):
        schema = {"type": "object", "properties": {"a": {"type": "strin"}}}
        with self.assertRaises(openai.BadRequestError) as caught:
            self.client.chat.completions.create(**self.fields(response_format={
                "type": "json_schema", "json_schema": {"name": "bad", "schema": schema}}))
        self.assertEqual(caught.exception.code, "invalid_json_schema")
        self.assertEqual(caught.exception.param, "response_format.json_schema.schema")
        details = caught.exception.body["details"]
        self.assertTrue(details[0]["pointer"].startswith("/properties/a"))

    def test_a_stream_is_json_when_it_ends(self):
        schema = {"type": "object", "required": ["a"], "additionalProperties": False,
                  "properties": {"a": {"enum": ["left", "right"]}}}
        stream = self.client.chat.completions.create(stream=True, **self.fields(response_format={
            "type": "json_schema", "json_schema": {"name": "side", "schema": schema}}))
        text = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
        self.assertIn(json.loads(text)["a"], ("left", "right"))


if __name__ == "__main__":
    unittest.main()
