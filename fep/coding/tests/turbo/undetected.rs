//! Wrong frames that their own check would let pass.

use fep_coding::Isa;
use fep_coding::crc::crc16_fecf;
use fep_coding::turbo::{TurboDecoder, TurboDecoding, TurboRate, TurboSpec, TurboStop};

use crate::channel::Noise;

/// Noise in which decoding comes by a frame that passes its CRC-16: the rate, what seeds the noise, and after how many
/// iterations. One look in 65 536 finds one; these were searched for.
const PITFALLS: [(TurboRate, u64, u8); 6] = [
    (TurboRate::R1_2, 4590, 9),
    (TurboRate::R1_2, 9191, 1),
    (TurboRate::R1_2, 9355, 9),
    (TurboRate::R1_3, 9196, 7),
    (TurboRate::R1_3, 12_621, 5),
    (TurboRate::R1_3, 17_424, 6),
];

// REQ: FEP-TURBO-100
#[test]
fn a_guess_that_passes_the_crc_on_the_way_is_not_taken_for_the_frame() {
    for (rate, seed, after) in PITFALLS {
        let spec = TurboSpec { information_bits: 1784, rate };
        let mut noise = Noise(seed << 32);
        let symbols: Vec<i8> =
            noise.octets(spec.codeword_bits()).into_iter().map(|octet| octet as i8).collect();
        for isa in Isa::available() {
            let decode = |iterations_max, stop| {
                let decoding = TurboDecoding { iterations_max, stop };
                let mut decoder = TurboDecoder::with_isa(spec, decoding, *isa).expect("an available set");
                let mut frame = vec![0; spec.information_len()];
                let verdict = decoder.decode(&symbols, &mut frame);
                (verdict, crc16_fecf(&frame) == 0)
            };
            let (verdict, passes) = decode(after, TurboStop::Never);
            assert!(passes && !verdict.converged, "{spec}, seed {seed} on {isa}: no pitfall");
            let (verdict, passes) = decode(10, TurboStop::Fecf);
            assert!(
                !verdict.converged && verdict.iterations == 10,
                "{spec}, seed {seed} on {isa}: {verdict:?}"
            );
            assert!(!passes, "{spec}, seed {seed} on {isa}: the frame of the last iteration passes too");
        }
    }
}
