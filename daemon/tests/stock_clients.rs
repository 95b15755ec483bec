//! What clients that know nothing of outlast rely on: health and reflection.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on has failed, and a panic is how it says so"
)]

mod support;

use outlast_testkit::Sandbox;
use support::{ready, soon};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_reflection::pb::{v1, v1alpha};

const SERVICES: [&str; 3] = [
    "outlast.v1.DaemonService",
    "outlast.v1.EventService",
    "outlast.v1.HostService",
];

#[tokio::test]
async fn every_service_is_healthy() {
    let sandbox = Sandbox::new();
    let _process = ready(&sandbox);
    let mut client = HealthClient::new(sandbox.connect().await.unwrap());
    for service in SERVICES.iter().chain(&[""]) {
        let request = HealthCheckRequest {
            service: (*service).to_owned(),
        };
        let answer = soon("health", client.check(request)).await.unwrap();
        assert_eq!(answer.into_inner().status(), ServingStatus::Serving, "{service}");
    }
}

#[tokio::test]
async fn reflection_tells_the_public_services_and_no_others() {
    use v1::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    };
    let sandbox = Sandbox::new();
    let _process = ready(&sandbox);
    let mut client = ServerReflectionClient::new(sandbox.connect().await.unwrap());
    let ask = |message_request| ServerReflectionRequest {
        host: String::new(),
        message_request: Some(message_request),
    };
    let requests = tokio_stream::iter([
        ask(MessageRequest::ListServices(String::new())),
        ask(MessageRequest::FileContainingSymbol(SERVICES[0].to_owned())),
        ask(MessageRequest::FileByFilename(
            "google/protobuf/timestamp.proto".to_owned(),
        )),
    ]);
    let mut answers = client
        .server_reflection_info(requests)
        .await
        .unwrap()
        .into_inner();
    let mut next = async || {
        let answer = soon("an answer", answers.message()).await.unwrap().unwrap();
        answer.message_response.unwrap()
    };
    let MessageResponse::ListServicesResponse(list) = next().await else {
        panic!("no list of services");
    };
    let names: Vec<_> = list.service.into_iter().map(|service| service.name).collect();
    for service in SERVICES {
        assert!(names.iter().any(|name| name == service), "{service} in {names:?}");
    }
    assert!(
        !names.iter().any(|name| name.starts_with("outlast.helper")),
        "{names:?}"
    );
    for _ in 0..2 {
        let answer = next().await;
        let MessageResponse::FileDescriptorResponse(files) = answer else {
            panic!("no descriptor but {answer:?}");
        };
        assert!(!files.file_descriptor_proto.is_empty());
    }
}

/// Older tools speak only this version of reflection.
#[tokio::test]
async fn reflection_is_served_in_its_old_version_too() {
    use v1alpha::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    };
    let sandbox = Sandbox::new();
    let _process = ready(&sandbox);
    let mut client = ServerReflectionClient::new(sandbox.connect().await.unwrap());
    let requests = tokio_stream::iter([ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    }]);
    let mut answers = client
        .server_reflection_info(requests)
        .await
        .unwrap()
        .into_inner();
    let answer = soon("an answer", answers.message()).await.unwrap().unwrap();
    assert!(matches!(
        answer.message_response.unwrap(),
        MessageResponse::ListServicesResponse(_)
    ));
}
