//! How good predictions are: counts for classes, distances for numbers.

/// How often each class was taken for each: the base of accuracy, precision, recall and F1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confusion {
    classes: usize,
    counts: Vec<u64>,
}

impl Confusion {
    /// Of `classes` classes, with nothing counted.
    pub fn new(classes: usize) -> Confusion {
        Confusion { classes, counts: vec![0; classes * classes] }
    }

    /// Counts a row that is of class `truth` and was taken for `predicted`. Numbers that are no class are not
    /// counted.
    pub fn add(&mut self, truth: i64, predicted: i64) {
        let class = |c: i64| usize::try_from(c).ok().filter(|&c| c < self.classes);
        if let (Some(truth), Some(predicted)) = (class(truth), class(predicted)) {
            self.counts[truth * self.classes + predicted] += 1;
        }
    }

    /// How many classes there are.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// How many rows of class `truth` were taken for `predicted`.
    pub fn count(&self, truth: usize, predicted: usize) -> u64 {
        self.counts[truth * self.classes + predicted]
    }

    /// How many rows were counted.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// How many rows are of this class.
    pub fn support(&self, class: usize) -> u64 {
        (0..self.classes).map(|predicted| self.count(class, predicted)).sum()
    }

    fn taken_for(&self, class: usize) -> u64 {
        (0..self.classes).map(|truth| self.count(truth, class)).sum()
    }

    /// The part of all rows that was taken for what it is; 0 without rows.
    pub fn accuracy(&self) -> f64 {
        ratio((0..self.classes).map(|class| self.count(class, class)).sum(), self.total())
    }

    /// The part of the rows taken for `class` that are of it; 0 where none was.
    pub fn precision(&self, class: usize) -> f64 {
        ratio(self.count(class, class), self.taken_for(class))
    }

    /// The part of the rows of `class` that were taken for it; 0 where there are none.
    pub fn recall(&self, class: usize) -> f64 {
        ratio(self.count(class, class), self.support(class))
    }

    /// 2·precision·recall/(precision + recall); 0 where both are.
    pub fn f1(&self, class: usize) -> f64 {
        // The same with the denominators multiplied out: 2 TP/(2 TP + FP + FN).
        ratio(2 * self.count(class, class), self.taken_for(class) + self.support(class))
    }

    /// The mean of a measure over the classes: `macro` in scikit-learn.
    pub fn mean_of(&self, measure: impl Fn(&Confusion, usize) -> f64) -> f64 {
        (0..self.classes).map(|class| measure(self, class)).sum::<f64>() / self.classes.max(1) as f64
    }
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// How far predicted numbers are from the true ones, added up row by row.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Distance {
    count: f64,
    absolute: f64,
    squared: f64,
    mean: f64,
    spread: f64,
}

impl Distance {
    /// Counts one number. The spread of the truth is followed without cancellation (Welford 1962).
    pub fn add(&mut self, truth: f64, predicted: f64) {
        let error = predicted - truth;
        self.count += 1.0;
        self.absolute += error.abs();
        self.squared += error * error;
        let before = truth - self.mean;
        self.mean += before / self.count;
        self.spread += before * (truth - self.mean);
    }

    /// Mean absolute error: Σ|ŷ − y|/n.
    pub fn mae(&self) -> f64 {
        self.absolute / self.count.max(1.0)
    }

    /// Root of the mean squared error: √(Σ(ŷ − y)²/n).
    pub fn rmse(&self) -> f64 {
        (self.squared / self.count.max(1.0)).sqrt()
    }

    /// 1 − Σ(ŷ − y)²/Σ(y − ȳ)²: 1 is perfect, 0 is as good as the mean. Where all y are the same it is 1 for a
    /// perfect prediction, else 0 (as scikit-learn's `r2_score`).
    pub fn r2(&self) -> f64 {
        if self.spread > 0.0 { 1.0 - self.squared / self.spread } else { f64::from(self.squared == 0.0) }
    }
}

/// What was measured on rows.
#[derive(Clone, Debug, PartialEq)]
pub enum Scores {
    /// Of classes.
    Classes(Confusion),
    /// Of numbers.
    Numbers(Distance),
}

impl Scores {
    /// The one number by which epochs are compared, larger is better: accuracy or R².
    pub fn headline(&self) -> f64 {
        match self {
            Scores::Classes(confusion) => confusion.accuracy(),
            Scores::Numbers(distance) => distance.r2(),
        }
    }

    /// All measures with their names, in the order in which they are shown.
    pub fn named(&self) -> Vec<(&'static str, f64)> {
        match self {
            Scores::Classes(confusion) => vec![
                ("accuracy", confusion.accuracy()),
                ("precision", confusion.mean_of(Confusion::precision)),
                ("recall", confusion.mean_of(Confusion::recall)),
                ("f1", confusion.mean_of(Confusion::f1)),
            ],
            Scores::Numbers(distance) => {
                vec![("mae", distance.mae()), ("rmse", distance.rmse()), ("r2", distance.r2())]
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Confusion, Distance};

    fn close(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-12, "{a} ≠ {b}");
    }

    #[test]
    fn the_measures_of_classes_are_those_of_scikit_learn() {
        // y_true = [0,0,0,1,1,2], y_pred = [0,0,1,1,2,2]
        let mut confusion = Confusion::new(3);
        for (truth, predicted) in [(0, 0), (0, 0), (0, 1), (1, 1), (1, 2), (2, 2)] {
            confusion.add(truth, predicted);
        }
        close(confusion.accuracy(), 4.0 / 6.0);
        for (class, precision, recall, f1) in [(0, 1.0, 2.0 / 3.0, 0.8), (1, 0.5, 0.5, 0.5), (2, 0.5, 1.0, 2.0 / 3.0)] {
            close(confusion.precision(class), precision);
            close(confusion.recall(class), recall);
            close(confusion.f1(class), f1);
        }
        close(confusion.mean_of(Confusion::precision), 2.0 / 3.0);
    }

    #[test]
    fn what_can_not_be_divided_is_0_and_what_is_no_class_is_not_counted() {
        let mut confusion = Confusion::new(2);
        close(confusion.accuracy(), 0.0);
        confusion.add(0, 0);
        confusion.add(5, 0);
        confusion.add(-1, 1);
        assert_eq!(confusion.total(), 1);
        close(confusion.precision(1), 0.0);
        close(confusion.recall(1), 0.0);
        close(confusion.f1(1), 0.0);
    }

    #[test]
    fn the_distances_of_numbers_are_those_of_scikit_learn() {
        // Its own example of r2_score.
        let mut distance = Distance::default();
        for (truth, predicted) in [(3.0, 2.5), (-0.5, 0.0), (2.0, 2.0), (7.0, 8.0)] {
            distance.add(truth, predicted);
        }
        close(distance.mae(), 0.5);
        close(distance.rmse(), 0.375f64.sqrt());
        assert!((distance.r2() - 0.948_608_137_044_967_9).abs() < 1e-9, "{}", distance.r2());
    }

    #[test]
    fn r2_of_a_constant_truth_is_1_or_0() {
        let mut distance = Distance::default();
        distance.add(2.0, 2.0);
        close(distance.r2(), 1.0);
        distance.add(2.0, 3.0);
        close(distance.r2(), 0.0);
    }
}
