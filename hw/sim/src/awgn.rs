//! White Gaussian noise on antipodal symbols, and the receiver that quantises them: seeded and repeatable.

use fep_coding::soft::SoftFormat;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

/// Full scale of the receiver over the root mean square of what it receives: clips noise beyond three sigmas or so.
const HEADROOM: f64 = 3.2;

/// A channel of additive white Gaussian noise with a receiver behind it that controls its gain: whatever the noise, the
/// root mean square of its symbols is the same share of its full scale.
#[derive(Debug, Clone)]
pub struct Awgn {
    sigma: f32,
    gain: f32,
    dice: ChaCha8Rng,
}

/// Es/N0 in dB of each binary symbol of a code of `rate` information bits a symbol.
#[must_use]
pub fn es_n0_db(eb_n0_db: f64, rate: f64) -> f64 {
    eb_n0_db + 10.0 * rate.log10()
}

impl Awgn {
    /// A channel of this Es/N0 for each binary symbol (of each axis, of QPSK), `None` for no noise. `stream` chooses one
    /// of many independent runs of the same seed.
    #[must_use]
    pub fn new(es_n0_db: Option<f64>, format: &SoftFormat, seed: u64, stream: u64) -> Awgn {
        let sigma = es_n0_db.map_or(0.0, |db| (0.5 / 10f64.powf(db / 10.0)).sqrt());
        let gain = f64::from(format.full_scale()) / HEADROOM / (1.0 + sigma * sigma).sqrt();
        let mut dice = ChaCha8Rng::seed_from_u64(seed);
        dice.set_stream(stream);
        Awgn { sigma: sigma as f32, gain: gain as f32, dice }
    }

    /// Standard deviation of the noise, the symbols being 1 and -1.
    #[must_use]
    pub fn sigma(&self) -> f64 {
        f64::from(self.sigma)
    }

    /// What a clear symbol comes out as.
    #[must_use]
    pub fn level(&self) -> i8 {
        self.gain.round() as i8
    }

    /// Replaces the signs of symbols by what is received of them.
    pub fn receive(&mut self, symbols: &mut [i8]) {
        for symbol in symbols {
            let sent = f32::from(symbol.signum());
            let noise: f32 = if self.sigma > 0.0 { StandardNormal.sample(&mut self.dice) } else { 0.0 };
            let received = self.gain * (sent + self.sigma * noise);
            *symbol = received.round().clamp(-127.0, 127.0) as i8;
        }
    }
}
