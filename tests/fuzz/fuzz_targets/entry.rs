#![no_main]
libfuzzer_sys::fuzz_target!(init: fuzz::seeds::write("entry"), |data: &[u8]| fuzz::entry::run(data));
