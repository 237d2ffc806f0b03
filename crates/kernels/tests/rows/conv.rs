use limpid_kernels::Isa;
use limpid_kernels::conv::{Axis, Conv, conv, weight_gradient};

use super::*;

/// Where element `k` of window `w` meets the image: none where that is padding or a zero between two elements.
fn met(axis: &Axis, w: usize, k: usize) -> Option<usize> {
    let place = (w * axis.stride + k * axis.dilation) as isize - axis.lo;
    let on = place >= 0 && place % axis.input_dilation as isize == 0;
    let place = place / axis.input_dilation as isize;
    (on && place < axis.size as isize).then_some(place as usize)
}

/// Calls `f` with the flat places in the result, the image and the weights of every product of the convolution.
fn products(shape: &Conv, mut f: impl FnMut(usize, usize, usize)) {
    let Conv { n, c_in, c_out, groups, axes, turned } = *shape;
    let (seen, made) = (c_in / groups, c_out / groups);
    let [kernel, size, out] = [axes.map(|a| a.kernel), axes.map(|a| a.size), shape.out_size()];
    for (flat, at) in coordinates(&[n, c_out, out[0], out[1], out[2]]).into_iter().enumerate() {
        let group = at[1] / made;
        for tap in coordinates(&[seen, kernel[0], kernel[1], kernel[2]]) {
            let [Some(z), Some(y), Some(x)] = [0, 1, 2].map(|i| met(&axes[i], at[i + 2], tap[i + 1])) else { continue };
            let pixel = place(&[n, c_in, size[0], size[1], size[2]], &[at[0], group * seen + tap[0], z, y, x]);
            let weight = if turned {
                let back = [0, 1, 2].map(|i| kernel[i] - 1 - tap[i + 1]);
                let sizes = [c_in, made, kernel[0], kernel[1], kernel[2]];
                place(&sizes, &[group * seen + tap[0], at[1] % made, back[0], back[1], back[2]])
            } else {
                place(&[c_out, seen, kernel[0], kernel[1], kernel[2]], &[at[1], tap[0], tap[1], tap[2], tap[3]])
            };
            f(flat, pixel, weight);
        }
    }
}

/// Sizes of the image, the weights and the result.
fn sizes(shape: &Conv) -> [usize; 3] {
    let product = |sizes: [usize; 3]| sizes.iter().product::<usize>();
    [
        shape.n * shape.c_in * product(shape.axes.map(|a| a.size)),
        shape.c_out * (shape.c_in / shape.groups) * product(shape.axes.map(|a| a.kernel)),
        shape.n * shape.c_out * product(shape.out_size()),
    ]
}

/// An axis with padding, stride and dilations.
fn axis(size: usize, kernel: usize, stride: usize, around: [isize; 2], dilation: usize, input_dilation: usize) -> Axis {
    Axis { stride, lo: around[0], hi: around[1], dilation, input_dilation, ..Axis::new(size, kernel) }
}

fn image(n: usize, c_in: usize, c_out: usize, groups: usize, y: Axis, x: Axis) -> Conv {
    Conv { n, c_in, c_out, groups, axes: [Axis::new(1, 1), y, x], turned: false }
}

fn shapes() -> Vec<Conv> {
    let same = |size| axis(size, 3, 1, [1, 1], 1, 1);
    let plain = |size, kernel| Axis::new(size, kernel);
    let volume = |c_in, c_out, groups, axes| Conv { n: 2, c_in, c_out, groups, axes, turned: false };
    let mut shapes = vec![
        image(2, 4, 6, 1, plain(7, 3), plain(9, 3)),
        image(2, 4, 6, 1, same(7), same(9)),
        image(0, 4, 6, 1, same(7), same(9)),
        image(2, 0, 6, 1, same(7), same(9)),
        image(2, 4, 6, 1, plain(2, 3), plain(9, 3)),
        image(2, 4, 6, 1, axis(0, 3, 1, [1, 2], 1, 1), same(3)),
        image(2, 6, 6, 6, axis(0, 3, 1, [1, 2], 1, 1), same(3)),
        image(1, 1, 1, 1, plain(1, 1), plain(1, 1)),
        image(2, 4, 6, 1, plain(7, 1), plain(9, 1)),
        image(2, 4, 6, 2, plain(7, 1), plain(9, 1)),
        image(2, 4, 6, 1, axis(7, 1, 2, [0, 0], 1, 1), axis(9, 1, 3, [0, 0], 1, 1)),
        image(2, 4, 6, 1, axis(7, 3, 2, [0, 1], 1, 1), axis(9, 3, 3, [2, 0], 1, 1)),
        image(2, 4, 6, 1, axis(7, 3, 1, [4, 5], 2, 1), axis(9, 3, 1, [6, 3], 3, 1)),
        image(2, 4, 6, 2, axis(7, 2, 1, [3, 0], 1, 1), axis(9, 5, 2, [0, 7], 1, 1)),
        image(2, 6, 6, 6, same(7), same(9)),
        image(2, 12, 6, 6, axis(7, 3, 2, [1, 1], 1, 1), axis(9, 3, 2, [1, 1], 2, 1)),
        image(2, 6, 9, 3, axis(7, 3, 1, [1, 1], 1, 1), axis(9, 1, 1, [1, 1], 1, 1)),
        image(3, 8, 12, 1, axis(20, 5, 1, [2, 2], 1, 1), axis(20, 5, 1, [2, 2], 1, 1)),
        image(3, 8, 8, 8, same(60), same(60)),
        // Windows that miss the image, cut images, an image spread out.
        image(2, 3, 5, 1, axis(4, 2, 1, [5, 6], 1, 1), axis(4, 3, 4, [3, 9], 2, 1)),
        image(2, 3, 5, 1, axis(9, 2, 1, [-2, -1], 1, 1), axis(8, 3, 2, [-1, 2], 1, 1)),
        image(2, 3, 5, 1, axis(5, 3, 1, [2, 1], 1, 2), axis(6, 2, 1, [1, 3], 2, 3)),
        image(2, 3, 5, 1, axis(5, 3, 2, [2, 1], 1, 3), axis(6, 3, 4, [1, 3], 1, 2)),
        image(2, 4, 4, 4, axis(5, 3, 1, [2, 1], 1, 2), axis(6, 3, 2, [-1, 3], 1, 3)),
        image(1, 2, 3, 1, axis(5, 1, 1, [0, 0], 1, 3), axis(6, 1, 1, [0, 1], 1, 2)),
        // More windows, channels and elements of a window than are multiplied at once.
        image(5, 40, 70, 1, same(13), same(11)),
        image(40, 96, 40, 1, same(2), same(2)),
        image(1, 3, 33, 1, axis(40, 7, 2, [3, 3], 1, 1), axis(37, 7, 2, [3, 3], 1, 1)),
        image(1, 3, 20, 1, axis(20, 18, 1, [0, 2], 1, 1), axis(21, 17, 1, [2, 0], 1, 1)),
        image(1, 5, 3, 1, plain(1, 1), axis(1500, 4, 1, [1, 1], 3, 1)),
        image(1, 300, 130, 1, axis(6, 3, 2, [1, 1], 1, 1), axis(6, 3, 2, [1, 1], 1, 1)),
        volume(4, 6, 1, [plain(4, 2), plain(5, 3), plain(6, 2)]),
        volume(4, 6, 1, [axis(4, 2, 2, [1, 2], 1, 1), axis(5, 3, 1, [0, 1], 1, 1), axis(6, 2, 3, [2, 0], 1, 1)]),
        volume(4, 6, 2, [axis(4, 2, 1, [3, 3], 3, 1), axis(5, 3, 1, [2, 2], 2, 1), axis(6, 2, 1, [1, 1], 2, 1)]),
        volume(4, 2, 2, [axis(4, 2, 1, [1, 1], 1, 1), axis(5, 3, 2, [1, 1], 1, 1), axis(6, 2, 2, [1, 1], 1, 1)]),
        volume(4, 6, 1, [plain(4, 1), plain(5, 1), plain(6, 1)]),
        volume(6, 6, 6, [axis(4, 2, 1, [1, 0], 1, 1), axis(5, 3, 1, [1, 1], 1, 1), axis(6, 2, 1, [0, 1], 1, 1)]),
        volume(3, 7, 1, [axis(3, 3, 1, [1, 1], 1, 2), axis(4, 3, 1, [1, 2], 1, 2), axis(5, 2, 1, [0, 1], 1, 3)]),
        volume(3, 35, 1, [same(12), same(12), same(13)]),
    ];
    shapes.extend(shapes.clone().into_iter().map(|shape| Conv { turned: true, ..shape }));
    shapes
}

#[test]
fn convolutions_equal_plain_loops() {
    let mut random = Random(71);
    for shape in shapes() {
        let [pixels, weights, results] = sizes(&shape);
        // Sums of products of deviation 0.3 reach twice their deviation on the way.
        let size = (0.6 * (weights as f64 / shape.c_out.max(1) as f64).sqrt()).max(6.0);
        let large = results * weights > 4_000_000;
        for dtype in FLOATS.into_iter().filter(|d| !large || *d == DType::F32) {
            let src = put(dtype, &random.normals(pixels, 1.0));
            let weight = put(dtype, &random.normals(weights, 0.3));
            let bias = put(dtype, &random.normals(shape.c_out, 1.0));
            let (x, w) = (take(dtype, &src), take(dtype, &weight));
            let mut sums = vec![0.0; results];
            products(&shape, |to, pixel, weight| sums[to] += x[pixel] * w[weight]);
            for with_bias in [false, true] {
                let mut expected = sums.clone();
                if with_bias {
                    let windows = shape.out_size().iter().product::<usize>().max(1);
                    let bias = take(dtype, &bias);
                    expected.iter_mut().enumerate().for_each(|(i, sum)| *sum += bias[i / windows % shape.c_out]);
                }
                let out = same_on_all_machines(results * dtype.size(), |cpu, out| {
                    let bias = with_bias.then(|| view(dtype, &bias));
                    conv(cpu, &shape, view(dtype, &src), view(dtype, &weight), bias, view_mut(dtype, out));
                    close(dtype, &take(dtype, out), &expected, size, &format!("{} {shape:?}", cpu.isa.name()));
                });
                assert_eq!(out.len(), results * dtype.size());
            }
        }
    }
}

#[test]
fn gradients_by_weights_equal_plain_loops() {
    let mut random = Random(79);
    for shape in shapes().into_iter().filter(|s| !s.turned) {
        let [pixels, weights, results] = sizes(&shape);
        let size = (0.6 * (results as f64 / shape.c_out.max(1) as f64).sqrt()).max(6.0);
        let large = results * weights > 4_000_000;
        for dtype in FLOATS.into_iter().filter(|d| !large || *d == DType::F32) {
            let src = put(dtype, &random.normals(pixels, 1.0));
            let g = put(dtype, &random.normals(results, 0.3));
            let (x, slopes) = (take(dtype, &src), take(dtype, &g));
            let mut expected = vec![0.0; weights];
            products(&shape, |to, pixel, weight| expected[weight] += x[pixel] * slopes[to]);
            same_on_all_machines(weights * dtype.size(), |cpu, out| {
                weight_gradient(cpu, &shape, view(dtype, &src), view(dtype, &g), view_mut(dtype, out));
                close(dtype, &take(dtype, out), &expected, size, &format!("{} {shape:?}", cpu.isa.name()));
            });
        }
    }
}

/// Runs `kernel` with every instruction set, each on 1 and 3 threads that must agree; returns the last result.
fn same_on_all_machines(len: usize, mut kernel: impl FnMut(&Cpu, &mut Buffer)) -> Buffer {
    let mut last = Buffer::new(0);
    for isa in Isa::available() {
        let [one, three] = [1, 3].map(|threads| {
            let mut out = stale(DType::U8, len);
            kernel(&Cpu::new(Some(isa), threads), &mut out);
            out
        });
        assert!(one.bytes() == three.bytes(), "the result depends on the number of threads");
        last = one;
    }
    last
}

#[test]
#[should_panic(expected = "groups divide the channels")]
fn groups_divide_the_channels() {
    let shape = Conv { groups: 3, ..shapes()[0] };
    let none = || Slice::of::<f32>(&[]);
    conv(&Cpu::new(None, 1), &shape, none(), none(), None, SliceMut::of::<f32>(&mut []));
}
