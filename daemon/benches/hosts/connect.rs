//! From a host that was just added to the first result of a command there.

use std::{fs, time::Instant};

use outlast_client::v1::{
    AddHostRequest, RemoveHostRequest, SshAddress, add_host_request::Address,
    host_service_client::HostServiceClient,
};
use outlast_testkit::{Client, DEADLINE};

use crate::{
    bed::{Bed, Floor, Machine},
    measure::{rounds, time, turns},
    table::{Promise, Table},
};

/// The helper is there, and it is not.
pub(crate) fn connect(table: &mut Table) {
    let bed = Bed::unconnected();
    let client = Client::new(&bed.sandbox, DEADLINE);
    let few = rounds().div_ceil(5);
    let anew = |machine: &Machine| time(&mut bed.theirs_anew(machine, &[], &["true"]));
    let [there, absent, peer] = turns(
        few,
        [
            &mut || first_result(&bed, &client, &bed.near),
            &mut || without_helper(&bed, &client, &bed.near),
            &mut || anew(&bed.near),
        ],
    );
    let (what, new) = ("connect to first result", "the same, helper absent");
    table.add(
        what,
        "ms",
        there,
        Some(("ssh H true", peer)),
        &Promise::Ratio(0.4),
    );
    table.add(
        new,
        "ms",
        absent,
        Some(("helper there", there)),
        &Promise::Nothing,
    );

    let mut floor = Floor::new();
    let [there, absent, peer, trip] = turns(
        few,
        [
            &mut || first_result(&bed, &client, &bed.far),
            &mut || without_helper(&bed, &client, &bed.far),
            &mut || anew(&bed.far),
            &mut || floor.round_trip(),
        ],
    );
    let (what, new) = ("connect to first result, 40 ms", "the same, helper absent, 40 ms");
    table.add(what, "ms", there, Some(("ssh H true", peer)), &Promise::Nothing);
    table.add(what, "ms", there, Some(("round trip", trip)), &Promise::Nothing);
    table.add(
        new,
        "ms",
        absent,
        Some(("helper there", there)),
        &Promise::Above(trip),
    );
}

fn without_helper(bed: &Bed, client: &Client<'_>, machine: &Machine) -> f64 {
    fs::remove_dir_all(machine.sshd.cache().join("outlast")).expect("a helper was brought here");
    first_result(bed, client, machine)
}

/// Milliseconds from the wish to have a host to the end of the first command there, with the start of that command.
fn first_result(bed: &Bed, client: &Client<'_>, machine: &Machine) -> f64 {
    let name = "new";
    let start = Instant::now();
    client.call(async |channel| {
        let address = SshAddress {
            destination: machine.name.to_owned(),
            ..SshAddress::default()
        };
        let request = AddHostRequest {
            name: name.to_owned(),
            address: Some(Address::Ssh(address)),
            ..AddHostRequest::default()
        };
        HostServiceClient::new(channel).add_host(request).await
    });
    time(&mut bed.ours(&["host", "exec", name, "--", "true"]));
    let took = start.elapsed().as_secs_f64() * 1e3;
    client.call(async |channel| {
        let request = RemoveHostRequest {
            host: name.to_owned(),
            force: true,
            ..RemoveHostRequest::default()
        };
        HostServiceClient::new(channel).remove_host(request).await
    });
    took
}
