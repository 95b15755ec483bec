//! Anthropic's Messages.

use serde_json::{Value, json};

use super::{Answer, Asked, Dialect, fresh, has_tools, last, named, texts};

pub(super) const DIALECT: Dialect = Dialect { asked, stream, whole };

fn asked(body: &Value) -> Asked {
    // What the program adds for the model comes after it, under another name.
    let user = last(&body["messages"], |message| message["role"] == "user");
    let content = user.map(|user| &user["content"]).unwrap_or(&Value::Null);
    Asked {
        prompt: texts(content),
        has_tools: has_tools(body),
        of_tool: last(content, |part| part["type"] == "tool_result").is_some(),
        streams: body["stream"] == true,
    }
}

fn stream(answer: &Answer) -> Vec<Vec<String>> {
    let delta = |delta: Value| json!({"type": "content_block_delta", "index": 0, "delta": delta});
    let begin = |block: Value| json!({"type": "content_block_start", "index": 0, "content_block": block});
    let (block, deltas, reason) = match answer {
        Answer::Text(pieces) => {
            let deltas = pieces
                .iter()
                .map(|text| delta(json!({"type": "text_delta", "text": text})));
            (json!({"type": "text", "text": ""}), deltas.collect(), "end_turn")
        }
        Answer::Call(call) => {
            let block = json!({"type": "tool_use", "id": fresh("toolu"), "name": call.tool, "input": {}});
            let arguments = json!({"type": "input_json_delta", "partial_json": call.arguments.to_string()});
            (block, vec![delta(arguments)], "tool_use")
        }
    };
    let mut all = vec![vec![
        named(&json!({"type": "message_start", "message": message(&json!([]), &Value::Null)})),
        named(&begin(block)),
    ]];
    all.extend(deltas.iter().map(|delta| vec![named(delta)]));
    all.push(vec![
        named(&json!({"type": "content_block_stop", "index": 0})),
        named(&json!({
            "type": "message_delta",
            "delta": {"stop_reason": reason, "stop_sequence": null},
            "usage": {"output_tokens": 5},
        })),
        named(&json!({"type": "message_stop"})),
    ]);
    all
}

fn whole(text: &str) -> Value {
    message(&json!([{"type": "text", "text": text}]), &json!("end_turn"))
}

fn message(content: &Value, reason: &Value) -> Value {
    json!({
        "id": fresh("msg"),
        "type": "message",
        "role": "assistant",
        "model": "mock",
        "content": content,
        "stop_reason": reason,
        "stop_sequence": null,
        "usage": {"input_tokens": 10, "output_tokens": 1},
    })
}
