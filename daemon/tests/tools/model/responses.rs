//! `OpenAI`'s Responses.

use serde_json::{Value, json};

use super::{Answer, Asked, Dialect, fresh, has_tools, last, named, texts};

pub(super) const DIALECT: Dialect = Dialect { asked, stream, whole };

fn asked(body: &Value) -> Asked {
    let user = last(&body["input"], |item| item["role"] == "user");
    let end = last(&body["input"], |_| true);
    Asked {
        prompt: user.map(|user| texts(&user["content"])).unwrap_or_default(),
        has_tools: has_tools(body),
        of_tool: end.is_some_and(|end| end["type"].as_str().is_some_and(|kind| kind.ends_with("_output"))),
        streams: body["stream"] == true,
    }
}

fn stream(answer: &Answer) -> Vec<Vec<String>> {
    let (id, item_id) = (fresh("resp"), fresh("item"));
    let added =
        |item: &Value| named(&json!({"type": "response.output_item.added", "output_index": 0, "item": item}));
    let done =
        |item: &Value| named(&json!({"type": "response.output_item.done", "output_index": 0, "item": item}));
    let mut all = vec![vec![named(
        &json!({"type": "response.created", "response": response(&id, "in_progress", &json!([]))}),
    )]];
    let item = match answer {
        Answer::Text(pieces) => {
            all[0].push(added(&message(&item_id, "in_progress", &json!([]))));
            for piece in pieces {
                all.push(vec![named(&json!({
                    "type": "response.output_text.delta",
                    "item_id": item_id,
                    "output_index": 0,
                    "content_index": 0,
                    "delta": piece,
                }))]);
            }
            said(&item_id, &pieces.concat())
        }
        Answer::Call(call) => {
            let item = json!({
                "type": "function_call",
                "id": item_id,
                "call_id": fresh("call"),
                "name": call.tool,
                "arguments": call.arguments.to_string(),
                "status": "completed",
            });
            all[0].push(added(&item));
            item
        }
    };
    all.push(vec![
        done(&item),
        named(&json!({"type": "response.completed", "response": response(&id, "completed", &json!([item]))})),
    ]);
    all
}

fn whole(text: &str) -> Value {
    response(&fresh("resp"), "completed", &json!([said(&fresh("item"), text)]))
}

fn said(id: &str, text: &str) -> Value {
    let content = json!([{"type": "output_text", "text": text, "annotations": []}]);
    message(id, "completed", &content)
}

fn message(id: &str, status: &str, content: &Value) -> Value {
    json!({"type": "message", "id": id, "role": "assistant", "status": status, "content": content})
}

fn response(id: &str, status: &str, output: &Value) -> Value {
    json!({
        "id": id,
        "object": "response",
        "status": status,
        "model": "mock",
        "output": output,
        "usage": {
            "input_tokens": 10,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": 5,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 15,
        },
    })
}
