use limpid_kernels::pooling::{Divisor, Pooling, Windows, avg_pool, avg_pool_grad, max_pool, max_pool_grad};

use super::*;

/// Places of a window on one axis, and how many it counts with its padding, from the definition.
fn window(w: &Windows, o: usize, n: usize) -> (Vec<usize>, usize) {
    match *w {
        Windows::Sliding { size, stride, padding, dilation, .. } => {
            let at = |k: usize| (o * stride + k * dilation) as i64 - padding as i64;
            let inside = (0..size).map(at).filter(|p| (0..n as i64).contains(p)).map(|p| p as usize).collect();
            (inside, (0..size).filter(|&k| at(k) < (n + padding) as i64).count())
        }
        Windows::Adaptive { count } => {
            let (a, b) = ((o * n) as f64 / count as f64, ((o + 1) * n) as f64 / count as f64);
            let places: Vec<usize> = (a.floor() as usize..b.ceil() as usize).collect();
            let len = places.len();
            (places, len)
        }
    }
}

/// Places in the plane and the padded count of each window of a plane.
fn plane(shape: &Pooling) -> Vec<(Vec<usize>, usize)> {
    let counts = shape.windows.map(|w| w.count());
    let [_, h, w] = shape.size;
    let mut all = vec![];
    for at in coordinates(&counts) {
        let [a, b, c] = [0, 1, 2].map(|i| window(&shape.windows[i], at[i], shape.size[i]));
        let mut places = vec![];
        for &i in &a.0 {
            for &j in &b.0 {
                places.extend(c.0.iter().map(|&k| (i * h + j) * w + k));
            }
        }
        all.push((places, a.1 * b.1 * c.1));
    }
    all
}

fn shapes() -> Vec<Pooling> {
    let sliding = |count, size, stride, padding, dilation| Windows::Sliding { count, size, stride, padding, dilation };
    let one = Windows::ONE;
    vec![
        Pooling { planes: 3, size: [1, 6, 8], windows: [one, sliding(3, 2, 2, 0, 1), sliding(4, 2, 2, 0, 1)] },
        Pooling { planes: 2, size: [1, 7, 9], windows: [one, sliding(4, 3, 2, 1, 1), sliding(9, 3, 1, 1, 1)] },
        Pooling {
            planes: 2,
            size: [4, 5, 7],
            windows: [sliding(2, 2, 3, 1, 1), sliding(3, 2, 1, 0, 2), sliding(3, 3, 3, 1, 1)],
        },
        Pooling { planes: 3, size: [1, 3, 70], windows: [one, one, sliding(12, 5, 6, 2, 1)] },
        Pooling { planes: 3, size: [1, 9, 33], windows: [one, sliding(2, 3, 4, 0, 1), sliding(8, 4, 4, 0, 1)] },
        Pooling { planes: 5, size: [2, 9, 33], windows: [one; 3] },
        Pooling { planes: 2, size: [1, 2, 3], windows: [one, one, sliding(1, 3, 1 << 40, 0, 1)] },
        Pooling { planes: 2, size: [3, 5, 7], windows: [2, 5, 4].map(|count| Windows::Adaptive { count }) },
        Pooling { planes: 1, size: [1, 1, 11], windows: [one, one, Windows::Adaptive { count: 23 }] },
        Pooling { planes: 0, size: [1, 2, 2], windows: [one; 3] },
        Pooling { planes: 2, size: [1, 2, 2], windows: [one, one, Windows::Adaptive { count: 0 }] },
        Pooling { planes: 70, size: [1, 40, 40], windows: [one, sliding(20, 3, 2, 1, 1), sliding(20, 3, 2, 1, 1)] },
    ]
}

#[test]
fn poolings_equal_plain_loops() {
    let mut random = Random(29);
    for shape in shapes() {
        let (elements, windows) = (shape.size.iter().product::<usize>(), plane(&shape));
        for dtype in FLOATS {
            // Few values, so that there are ties, and now and then a NaN.
            let mut values = random.whole(dtype, shape.planes * elements);
            values.iter_mut().for_each(|x| *x = if random.below(40) == 0 { f64::NAN } else { *x });
            values.iter_mut().take(9).for_each(|x| *x = f64::NEG_INFINITY);
            let src = put(dtype, &values);
            let (mut best, mut places) = (vec![], vec![]);
            for p in 0..shape.planes {
                for (seen, _) in &windows {
                    let mut place = seen[0];
                    for &i in seen {
                        let (x, top) = (values[p * elements + i], values[p * elements + place]);
                        place = if x.is_nan() || x > top { i } else { place };
                    }
                    best.push(values[p * elements + place]);
                    places.push(place as f64);
                }
            }
            let mut found = stale(DType::I32, places.len());
            let out = same_on_all_threads(best.len() * dtype.size(), |cpu, out| {
                max_pool(cpu, &shape, view(dtype, &src), view_mut(dtype, out), view_mut(DType::I32, &mut found));
            });
            assert_eq!(take(DType::I32, &found), places, "{shape:?} {dtype}");
            let same = take(dtype, &out).iter().zip(&best).all(|(a, b)| a == b || (a.is_nan() && b.is_nan()));
            assert!(same, "{shape:?} {dtype}");
            let alone = same_on_all_threads(best.len() * dtype.size(), |cpu, out| {
                max_pool(
                    cpu,
                    &shape,
                    view(dtype, &src),
                    view_mut(dtype, out),
                    view_mut(DType::I32, &mut stale(DType::I32, 0)),
                );
            });
            let same = take(dtype, &alone).iter().zip(&best).all(|(a, b)| a == b || (a.is_nan() && b.is_nan()));
            assert!(same, "{shape:?} {dtype} without places");

            let g = put(dtype, &random.normals(places.len(), 1.0));
            let mut gradient = vec![0.0; values.len()];
            for (i, (place, g)) in places.iter().zip(take(dtype, &g)).enumerate() {
                gradient[i / windows.len() * elements + *place as usize] += g;
            }
            let at = put(DType::I32, &places);
            let out = same_on_all_threads(gradient.len() * dtype.size(), |cpu, out| {
                max_pool_grad(cpu, shape.planes, view(DType::I32, &at), view(dtype, &g), view_mut(dtype, out));
            });
            close(dtype, &take(dtype, &out), &gradient, 8.0, &format!("gradient of {shape:?}"));
        }
    }
}

#[test]
fn averages_and_their_gradients_equal_plain_loops() {
    let mut random = Random(31);
    for shape in shapes() {
        let (elements, windows) = (shape.size.iter().product::<usize>(), plane(&shape));
        for divisor in [Divisor::Count { padded: true }, Divisor::Count { padded: false }, Divisor::Number(-2.0)] {
            for dtype in FLOATS {
                let src = put(dtype, &random.normals(shape.planes * elements, 1.0));
                let g = put(dtype, &random.normals(shape.planes * windows.len(), 1.0));
                let (x, slopes) = (take(dtype, &src), take(dtype, &g));
                let (mut average, mut gradient) = (vec![], vec![0.0; x.len()]);
                for p in 0..shape.planes {
                    for (o, (seen, padded)) in windows.iter().enumerate() {
                        let by = match divisor {
                            Divisor::Count { padded: true } => *padded as f64,
                            Divisor::Count { padded: false } => seen.len() as f64,
                            Divisor::Number(number) => number,
                        };
                        average.push(seen.iter().map(|i| x[p * elements + i]).sum::<f64>() / by);
                        seen.iter().for_each(|i| gradient[p * elements + i] += slopes[p * windows.len() + o] / by);
                    }
                }
                let out = same_on_all_threads(average.len() * dtype.size(), |cpu, out| {
                    avg_pool(cpu, &shape, divisor, view(dtype, &src), view_mut(dtype, out));
                });
                close(dtype, &take(dtype, &out), &average, 4.0, &format!("{shape:?}"));
                let out = same_on_all_threads(gradient.len() * dtype.size(), |cpu, out| {
                    avg_pool_grad(cpu, &shape, divisor, view(dtype, &g), view_mut(dtype, out));
                });
                close(dtype, &take(dtype, &out), &gradient, 8.0, &format!("gradient of {shape:?}"));
            }
        }
    }
}
