#![no_main]
libfuzzer_sys::fuzz_target!(init: fuzz::seeds::write("answer"), |data: &[u8]| fuzz::answer::run(data));
