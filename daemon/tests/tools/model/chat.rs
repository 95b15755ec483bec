//! `OpenAI`'s Chat Completions, which many others speak too.

use serde_json::{Value, json};

use super::{Answer, Asked, Dialect, fresh, has_tools, last, nameless, texts};

pub(super) const DIALECT: Dialect = Dialect { asked, stream, whole };

fn asked(body: &Value) -> Asked {
    let user = last(&body["messages"], |message| message["role"] == "user");
    let end = last(&body["messages"], |_| true);
    Asked {
        prompt: user.map(|user| texts(&user["content"])).unwrap_or_default(),
        has_tools: has_tools(body),
        of_tool: end.is_some_and(|end| end["role"] == "tool"),
        streams: body["stream"] == true,
    }
}

fn stream(answer: &Answer) -> Vec<Vec<String>> {
    let mut all = vec![vec![chunk(
        &json!({"role": "assistant", "content": ""}),
        &Value::Null,
    )]];
    let reason = match answer {
        Answer::Text(pieces) => {
            let pieces = pieces.iter();
            all.extend(pieces.map(|text| vec![chunk(&json!({"content": text}), &Value::Null)]));
            "stop"
        }
        Answer::Call(call) => {
            let function = json!({"name": call.tool, "arguments": call.arguments.to_string()});
            let calls = json!([{"index": 0, "id": fresh("call"), "type": "function", "function": function}]);
            all.push(vec![chunk(&json!({"tool_calls": calls}), &Value::Null)]);
            "tool_calls"
        }
    };
    all.push(vec![
        chunk(&json!({}), &json!(reason)),
        "data: [DONE]\n\n".to_owned(),
    ]);
    all
}

fn chunk(delta: &Value, reason: &Value) -> String {
    nameless(&json!({
        "id": fresh("chat"),
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "mock",
        "choices": [{"index": 0, "delta": delta, "finish_reason": reason}],
    }))
}

fn whole(text: &str) -> Value {
    json!({
        "id": fresh("chat"),
        "object": "chat.completion",
        "created": 1,
        "model": "mock",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
    })
}
