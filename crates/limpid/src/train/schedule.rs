//! Learning rates as functions of the step alone, so that a run can be continued anywhere.

/// How the learning rate changes while training. Epochs may be fractions: the rate moves at each step.
#[derive(Clone, Debug, PartialEq)]
pub enum Schedule {
    /// It stays.
    Constant,
    /// Multiplied by `gamma` after each `step_size` epochs: torch's `StepLR`.
    StepLR {
        /// In epochs.
        step_size: f64,
        /// The factor.
        gamma: f64,
    },
    /// eta_min + (lr − eta_min)·(1 + cos(π·epoch/t_max))/2: torch's `CosineAnnealingLR`.
    CosineAnnealingLR {
        /// In epochs.
        t_max: f64,
        /// The rate at `t_max`, where it stays.
        eta_min: f64,
    },
}

impl Schedule {
    /// The rate at a time in epochs, of a base rate `lr`; during the first `warmup` epochs it grows to that along a
    /// line, from lr·(1 step/warmup).
    pub fn rate(&self, lr: f64, epoch: f64, warmup: f64, steps_per_epoch: usize) -> f64 {
        let base = match *self {
            Schedule::Constant => lr,
            Schedule::StepLR { step_size, gamma } => lr * gamma.powf((epoch / step_size).floor()),
            Schedule::CosineAnnealingLR { t_max, eta_min } => {
                let along = (epoch / t_max).min(1.0);
                eta_min + (lr - eta_min) * 0.5 * (1.0 + (std::f64::consts::PI * along).cos())
            }
        };
        if epoch < warmup { base * ((epoch + 1.0 / steps_per_epoch.max(1) as f64) / warmup).min(1.0) } else { base }
    }
}

#[cfg(test)]
mod tests {
    use super::Schedule;

    #[test]
    fn rates_follow_the_formulas() {
        let rate = |schedule: &Schedule, epoch| schedule.rate(0.1, epoch, 0.0, 10);
        assert_eq!(rate(&Schedule::Constant, 7.3), 0.1);
        let step = Schedule::StepLR { step_size: 2.0, gamma: 0.5 };
        assert_eq!([0.0, 1.9, 2.0, 4.0].map(|epoch| rate(&step, epoch)), [0.1, 0.1, 0.05, 0.025]);
        let cosine = Schedule::CosineAnnealingLR { t_max: 10.0, eta_min: 0.01 };
        for (epoch, expected) in [(0.0, 0.1), (5.0, 0.055), (10.0, 0.01), (20.0, 0.01)] {
            assert!((rate(&cosine, epoch) - expected).abs() < 1e-12, "{epoch}");
        }
    }

    #[test]
    fn the_warm_up_reaches_the_rate_at_its_last_step() {
        let rates: Vec<f64> = (0..5).map(|step| Schedule::Constant.rate(1.0, f64::from(step) / 4.0, 1.0, 4)).collect();
        assert_eq!(rates, [0.25, 0.5, 0.75, 1.0, 1.0]);
    }
}
