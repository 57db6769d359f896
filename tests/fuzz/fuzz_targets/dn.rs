#![no_main]
libfuzzer_sys::fuzz_target!(init: fuzz::seeds::write("dn"), |data: &[u8]| fuzz::dn::run(data));
