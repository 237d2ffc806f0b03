use limpid_kernels::conv::{Conv2d, Conv3d, conv2d, conv3d};

use super::*;

fn plain_conv(shape: &Conv2d, src: &[f64], weight: &[f64], bias: &[f64]) -> Vec<f64> {
    let Conv2d { n, c_in, size: [h, w], c_out, kernel: [kh, kw], groups, stride, padding, dilation } = *shape;
    let [oh, ow] = shape.out_size();
    let (in_group, out_group) = (c_in / groups, c_out / groups);
    let mut out = vec![];
    for at in coordinates(&[n, c_out, oh, ow]) {
        let [image, o, y, x] = at[..] else { unreachable!() };
        let mut sum = bias[o];
        for window in coordinates(&[in_group, kh, kw]) {
            let [c, i, j] = window[..] else { unreachable!() };
            let y_in = (y * stride[0] + i * dilation[0]).wrapping_sub(padding[0][0]);
            let x_in = (x * stride[1] + j * dilation[1]).wrapping_sub(padding[1][0]);
            if y_in < h && x_in < w {
                let channel = image * c_in + o / out_group * in_group + c;
                sum += weight[((o * in_group + c) * kh + i) * kw + j] * src[(channel * h + y_in) * w + x_in];
            }
        }
        out.push(sum);
    }
    out
}

fn shapes() -> Vec<Conv2d> {
    let plain = Conv2d {
        n: 2,
        c_in: 4,
        size: [7, 9],
        c_out: 6,
        kernel: [3, 3],
        groups: 1,
        stride: [1, 1],
        padding: [[0, 0]; 2],
        dilation: [1, 1],
    };
    let padded = Conv2d { padding: [[1, 1], [1, 1]], ..plain };
    vec![
        plain,
        padded,
        Conv2d { n: 0, ..plain },
        Conv2d { c_in: 0, ..plain },
        Conv2d { size: [2, 9], ..plain },
        Conv2d { size: [0, 3], ..padded },
        Conv2d { size: [0, 3], c_in: 6, groups: 6, ..padded },
        Conv2d { n: 1, c_in: 1, size: [1, 1], c_out: 1, kernel: [1, 1], ..plain },
        Conv2d { kernel: [1, 1], ..plain },
        Conv2d { kernel: [1, 1], stride: [2, 3], ..plain },
        Conv2d { kernel: [1, 1], groups: 2, ..plain },
        Conv2d { stride: [2, 3], padding: [[0, 1], [2, 0]], ..plain },
        Conv2d { dilation: [2, 3], padding: [[4, 5], [6, 3]], ..plain },
        Conv2d { kernel: [2, 5], groups: 2, padding: [[3, 0], [0, 7]], stride: [1, 2], ..plain },
        Conv2d { c_in: 6, groups: 6, ..padded },
        Conv2d { c_in: 12, groups: 6, stride: [2, 2], dilation: [1, 2], ..padded },
        Conv2d { c_in: 6, groups: 3, c_out: 9, kernel: [3, 1], ..padded },
        Conv2d { n: 3, c_in: 8, size: [20, 20], c_out: 12, kernel: [5, 5], padding: [[2, 2]; 2], ..plain },
        Conv2d { n: 3, c_in: 8, size: [60, 60], c_out: 8, groups: 8, ..padded },
    ]
}

#[test]
fn convolutions_equal_plain_loops() {
    let mut random = Random(71);
    for shape in shapes() {
        let (taps, pixels) = (shape.kernel[0] * shape.kernel[1], shape.size[0] * shape.size[1]);
        for dtype in FLOATS {
            let src = put(dtype, &random.normals(shape.n * shape.c_in * pixels, 1.0));
            let weight = put(dtype, &random.normals(shape.c_out * (shape.c_in / shape.groups) * taps, 0.3));
            let bias = put(dtype, &random.normals(shape.c_out, 1.0));
            for with_bias in [false, true] {
                let wide_bias = if with_bias { take(dtype, &bias) } else { vec![0.0; shape.c_out] };
                let expected = plain_conv(&shape, &take(dtype, &src), &take(dtype, &weight), &wide_bias);
                let out = same_on_all_threads(expected.len() * dtype.size(), |cpu, out| {
                    let bias = with_bias.then(|| view(dtype, &bias));
                    conv2d(cpu, &shape, view(dtype, &src), view(dtype, &weight), bias, view_mut(dtype, out));
                });
                // Sums of up to 400 products of deviation 0.3.
                close(dtype, &take(dtype, &out), &expected, 6.0, &format!("{shape:?}"));
            }
        }
    }
}

#[test]
fn convolutions_of_volumes_equal_plain_loops() {
    let mut random = Random(73);
    let plain = Conv3d {
        n: 2,
        c_in: 4,
        size: [4, 5, 6],
        c_out: 6,
        kernel: [2, 3, 2],
        groups: 1,
        stride: [1; 3],
        padding: [[0, 0]; 3],
        dilation: [1; 3],
    };
    let shapes = [
        plain,
        Conv3d { padding: [[1, 2], [0, 1], [2, 0]], stride: [2, 1, 3], ..plain },
        Conv3d { padding: [[3, 3], [2, 2], [1, 1]], dilation: [3, 2, 2], groups: 2, ..plain },
        Conv3d { groups: 2, c_out: 2, padding: [[1, 1]; 3], stride: [1, 2, 2], ..plain },
        Conv3d { kernel: [1; 3], ..plain },
        Conv3d { c_in: 6, groups: 6, padding: [[1, 0], [1, 1], [0, 1]], ..plain },
    ];
    for shape in shapes {
        let (taps, pixels) = (shape.kernel.iter().product::<usize>(), shape.size.iter().product::<usize>());
        let (in_group, out_group) = (shape.c_in / shape.groups, shape.c_out / shape.groups);
        for dtype in FLOATS {
            let src = put(dtype, &random.normals(shape.n * shape.c_in * pixels, 1.0));
            let weight = put(dtype, &random.normals(shape.c_out * in_group * taps, 0.3));
            let (x, w) = (take(dtype, &src), take(dtype, &weight));
            let mut expected = vec![];
            let [od, oh, ow] = shape.out_size();
            for at in coordinates(&[shape.n, shape.c_out, od, oh, ow]) {
                let mut sum = 0.0;
                for tap in coordinates(&[in_group, shape.kernel[0], shape.kernel[1], shape.kernel[2]]) {
                    let place = |i: usize| {
                        let forward = at[i + 2] * shape.stride[i] + tap[i + 1] * shape.dilation[i];
                        forward.wrapping_sub(shape.padding[i][0])
                    };
                    let [d, h, w_in] = [place(0), place(1), place(2)];
                    if d < shape.size[0] && h < shape.size[1] && w_in < shape.size[2] {
                        let channel = at[0] * shape.c_in + at[1] / out_group * in_group + tap[0];
                        let pixel = ((channel * shape.size[0] + d) * shape.size[1] + h) * shape.size[2] + w_in;
                        let k = ((tap[0] * shape.kernel[0] + tap[1]) * shape.kernel[1] + tap[2]) * shape.kernel[2];
                        sum += x[pixel] * w[at[1] * in_group * taps + k + tap[3]];
                    }
                }
                expected.push(sum);
            }
            let out = same_on_all_threads(expected.len() * dtype.size(), |cpu, out| {
                conv3d(cpu, &shape, view(dtype, &src), view(dtype, &weight), None, view_mut(dtype, out));
            });
            close(dtype, &take(dtype, &out), &expected, 6.0, &format!("{shape:?}"));
        }
    }
}

#[test]
#[should_panic(expected = "groups divide the channels")]
fn groups_divide_the_channels() {
    let shape = Conv2d { groups: 3, ..shapes()[0] };
    let none = || Slice::of::<f32>(&[]);
    conv2d(&Cpu::new(None, 1), &shape, none(), none(), None, SliceMut::of::<f32>(&mut []));
}
