//! Which keys are offered, and in which order. Pure.

use std::path::{Path, PathBuf};

use super::super::{
    agent::AgentKey,
    config::{Identity, Settings},
};

/// A key that can be offered.
#[derive(Debug, Clone, Copy)]
pub(in crate::ssh) enum Offer<'a> {
    Agent(&'a AgentKey),
    File(&'a Identity),
}

impl Offer<'_> {
    /// Its public half, where that can be known.
    pub(in crate::ssh) fn public(&self) -> Option<&[u8]> {
        match self {
            Self::Agent(key) => Some(&key.public),
            Self::File(identity) => identity.public.as_deref(),
        }
    }
}

/// The keys in the order in which they are offered: those that were named, those of the agent that the settings name,
/// the agent's others, those in files. `named` are files, `keys` those of the agent.
pub(in crate::ssh) fn offers<'a>(
    settings: &'a Settings,
    named: &[PathBuf],
    keys: &'a [AgentKey],
) -> Vec<Offer<'a>> {
    let in_agent = |identity: &Identity| {
        keys.iter()
            .find(|one| Some(&one.public) == identity.public.as_ref())
    };
    let is_named = |identity: &&Identity| named.iter().any(|named| is_of(&identity.file, named));
    let mut offers = Vec::new();
    for identity in settings.identities.iter().filter(is_named) {
        offers.push(in_agent(identity).map_or(Offer::File(identity), Offer::Agent));
    }
    let is_offered = |offers: &[Offer<'_>], one: &AgentKey| {
        let same = |offer: &Offer<'_>| matches!(offer, Offer::Agent(offered) if offered.public == one.public);
        offers.iter().any(same)
    };
    let is_meant = |one: &AgentKey| {
        settings
            .identities
            .iter()
            .any(|it| it.public.as_ref() == Some(&one.public))
    };
    for meant in [true, false] {
        if meant || !settings.identities_only {
            for one in keys.iter().filter(|one| is_meant(one) == meant) {
                if !is_offered(&offers, one) {
                    offers.push(Offer::Agent(one));
                }
            }
        }
    }
    for identity in settings.identities.iter().filter(|one| !is_named(one)) {
        // Half a key is of use only with an agent that has the other half.
        if identity.encrypted.is_some() && in_agent(identity).is_none() {
            offers.push(Offer::File(identity));
        }
    }
    offers
}

/// Whether a file is the one that was named, or its public half.
fn is_of(file: &Path, named: &Path) -> bool {
    file == named || file.to_str().and_then(|file| file.strip_suffix(".pub")) == named.to_str()
}

#[cfg(test)]
mod tests;
