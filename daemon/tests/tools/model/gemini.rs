//! Gemini's `generateContent` and `streamGenerateContent`.

use serde_json::{Value, json};

use super::{Answer, Asked, Dialect, has_tools, last, nameless, texts};

pub(super) const DIALECT: Dialect = Dialect { asked, stream, whole };

fn asked(body: &Value) -> Asked {
    let user = last(&body["contents"], |content| content["role"] == "user");
    let parts = user.map(|user| &user["parts"]).unwrap_or(&Value::Null);
    Asked {
        prompt: texts(parts),
        has_tools: has_tools(body),
        of_tool: last(parts, |part| part.get("functionResponse").is_some()).is_some(),
        // The path says it.
        streams: false,
    }
}

fn stream(answer: &Answer) -> Vec<Vec<String>> {
    // There is nothing that comes before the words.
    let mut all = vec![Vec::new()];
    match answer {
        Answer::Text(pieces) => {
            let (end, pieces) = pieces
                .split_last()
                .map_or(("", [].as_slice()), |(end, rest)| (end, rest));
            all.extend(
                pieces
                    .iter()
                    .map(|text| vec![nameless(&candidate(&json!({"text": text}), &Value::Null))]),
            );
            all.push(vec![nameless(&candidate(&json!({"text": end}), &json!("STOP")))]);
        }
        Answer::Call(call) => {
            let part = json!({"functionCall": {"name": call.tool, "args": call.arguments}});
            all.push(vec![nameless(&candidate(&part, &json!("STOP")))]);
        }
    }
    all
}

fn whole(text: &str) -> Value {
    candidate(&json!({"text": text}), &json!("STOP"))
}

fn candidate(part: &Value, reason: &Value) -> Value {
    let mut candidate = json!({"content": {"role": "model", "parts": [part]}, "index": 0});
    if !reason.is_null() {
        candidate["finishReason"] = reason.clone();
    }
    json!({
        "candidates": [candidate],
        "modelVersion": "mock",
        "usageMetadata": {"promptTokenCount": 10, "candidatesTokenCount": 5, "totalTokenCount": 15},
    })
}
