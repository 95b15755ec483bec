//! `notify`: being told what happens where one does not look.

pub mod test;
