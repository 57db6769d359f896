#![no_main]
libfuzzer_sys::fuzz_target!(init: fuzz::seeds::write("cron"), |data: &[u8]| fuzz::cron::run(data));
