"""Promises to the official JavaScript client: what it asks for it gets, what it gets wrong it can read.

Pictures and vectors are asked for by it in pictures_road_test.py and embeddings_test.py, where they are made.
"""

from typing import Any

PROMPT, COMPLETION = 200, 800


def test_an_answer_and_a_stream_say_the_same_and_are_charged_alike(served: Any, javascript: Any) -> None:
    account = served.account()
    got = javascript(
        served,
        account,
        """
        const names = [];
        for await (const model of client.models.list()) names.push(model.id);
        const { data, response, request_id } = await client.chat.completions.create(hello).withResponse();
        const stream = await client.chat.completions.create(
          { ...hello, stream: true, stream_options: { include_usage: true } });
        let text = "", usage = null, finish = null;
        for await (const chunk of stream) {
          text += chunk.choices[0]?.delta?.content ?? "";
          finish = chunk.choices[0]?.finish_reason ?? finish;
          usage = chunk.usage ?? usage;
        }
        const completion = await client.completions.create({ model: "tiny", prompt: "hello" });
        return { names, whole: data, text, usage, finish, request_id,
                 label: response.headers.get("x-spearhead-label"), completion: completion.choices[0].text };
        """,
    )
    whole = got["whole"]
    assert "tiny" in got["names"] and "tiny@v1" in got["names"]
    assert whole["choices"][0]["message"]["content"] == got["text"] == got["completion"] == " The quick brown fox."
    assert whole["choices"][0]["finish_reason"] == got["finish"] == "stop"
    assert whole["usage"]["total_tokens"] == got["usage"]["total_tokens"] == 10
    assert got["request_id"].startswith("req_") and "ContentProducer" in got["label"]
    assert served.paid(account) == 3 * 5 * (PROMPT + COMPLETION)


def test_a_response_and_its_stream_say_the_same_and_are_had_again(served: Any, javascript: Any) -> None:
    got = javascript(
        served,
        served.account(),
        """
        const ask = { model: "tiny", input: "hello", instructions: "be" };
        const whole = await client.responses.create(ask);
        const kinds = [];
        let text = "", last = null;
        for await (const event of await client.responses.create({ ...ask, stream: true })) {
          kinds.push(event.type);
          if (event.type === "response.output_text.delta") text += event.delta;
          last = event;
        }
        const built = await client.responses.stream(ask).finalResponse();
        const again = await client.responses.retrieve(whole.id);
        return { whole: whole.output_text, status: whole.status, text, kinds, over: last.response.output_text ??
                 last.response.output[0].content[0].text, built: built.output_text, again: again.output_text,
                 follows: (await client.responses.create({ ...ask, previous_response_id: whole.id })).output_text,
                 refused: await failed(() => client.responses.create({ ...ask, previous_response_id: "resp_none" })) };
        """,
    )
    named = ("whole", "text", "over", "built", "again", "follows")
    assert {got[name] for name in named} == {" The quick brown fox."}
    assert got["status"] == "completed"
    assert got["kinds"][0] == "response.created" and got["kinds"][-1] == "response.completed"
    assert (got["refused"]["kind"], got["refused"]["param"]) == ("BadRequestError", "previous_response_id")


def test_every_refusal_is_the_error_class_that_it_should_be(served: Any, javascript: Any) -> None:
    got = javascript(
        served,
        served.account(credit=0),
        """
        const ask = (more) => client.chat.completions.create({ ...hello, ...more });
        const stranger = new OpenAI({ baseURL: client.baseURL, apiKey: "sk-spear-" + "a".repeat(43), maxRetries: 0 });
        return [
          await failed(() => stranger.models.list()),
          await failed(() => ask({ model: "none" })),
          await failed(() => ask({ tools: [{ type: "function", function: { name: "f" } }] })),
          await failed(() => ask({ temperature: 9 })),
          await failed(() => ask({})),
          await failed(() => ask({ stream: true })),
        ];
        """,
    )
    assert [(one["kind"], one["status"], one["code"], one["param"]) for one in got] == [
        ("AuthenticationError", 401, "invalid_api_key", None),
        ("NotFoundError", 404, "model_not_found", "model"),
        ("BadRequestError", 400, "unsupported_parameter", "tools"),
        ("BadRequestError", 400, "invalid_value", "temperature"),
        ("RateLimitError", 429, "insufficient_quota", None),
        ("RateLimitError", 429, "insufficient_quota", None),
    ]


def test_a_stream_that_is_aborted_is_paid_up_to_there(served: Any, javascript: Any) -> None:
    account = served.account()
    with served.slowly():
        got = javascript(
            served,
            account,
            """
            const stream = await client.chat.completions.create(
              { model: "tiny", messages: [{ role: "user", content: "~" }], max_tokens: 4000, stream: true });
            let count = 0;
            for await (const chunk of stream) {
              if (++count === 5) stream.controller.abort();
            }
            return count;
            """,
        )
    assert got >= 5
    assert PROMPT < served.paid(account) < PROMPT + 4000 * COMPLETION
