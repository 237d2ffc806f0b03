//! Profiles: every kernel is counted once, with the arithmetic and the bytes that its definition has, and looking on
//! changes nothing.

use std::time::Duration;

use limpid_core::{
    AttentionOptions, Capture, DType, Profile, ProfileRow, Result, Tensor, gradients, loop_over, manual_seed, origin,
    profile, stats,
};

fn row<'a>(rows: &'a [ProfileRow], name: &str) -> &'a ProfileRow {
    rows.iter().find(|row| row.name == name).unwrap_or_else(|| panic!("{name} is not among {rows:#?}"))
}

/// Both tables are about the same kernels.
fn agree(profile: &Profile) {
    let sum = |rows: Vec<ProfileRow>| {
        let time: Duration = rows.iter().map(|row| row.time).sum();
        let sum = |of: fn(&ProfileRow) -> f64| rows.iter().map(of).sum::<f64>();
        (time, sum(|row| row.calls), sum(|row| row.flop), sum(|row| row.bytes))
    };
    let (kernels, modules) = (sum(profile.kernels()), sum(profile.modules()));
    assert_eq!(kernels, modules);
    assert_eq!(kernels.0, profile.in_kernels());
    assert!(profile.in_kernels() <= profile.wall());
}

#[test]
fn kernels_have_the_arithmetic_and_bytes_of_their_definition() -> Result<()> {
    let (a, b, c) = (Tensor::randn([8, 16]), Tensor::randn([16, 4]), Tensor::randn([8, 1]));
    limpid_core::eval([&a, &b, &c])?;
    let (profile, done) = profile(|| limpid_core::eval([&(a.matmul(&b) + &c), &a.sum(0), &c.cumsum(0)]));
    done?;
    agree(&profile);
    let rows = profile.kernels();
    // The product and the sum with a column: 8·4 results of 16 multiply-adds.
    let dot = row(&rows, "dot → add [8, 16]×[16, 4]");
    assert_eq!((dot.calls, dot.flop), (1.0, (2 * 8 * 4 * 16 + 8 * 4) as f64));
    assert_eq!(dot.bytes, (4 * (8 * 16 + 16 * 4 + 8 + 8 * 4)) as f64);
    let sum = rows.iter().find(|row| row.name.starts_with("sum")).unwrap();
    assert_eq!((sum.flop, sum.bytes), (128.0, (4 * (8 * 16 + 16)) as f64));
    assert_eq!(row(&rows, "cumsum [8, 1]").flop, 8.0);
    Ok(())
}

#[test]
fn a_compound_counts_as_what_it_means() -> Result<()> {
    let x = Tensor::ones([2, 3, 8, 8]);
    let w = Tensor::ones([4, 3, 3, 3]);
    limpid_core::eval([&x, &w])?;
    let (profile, done) = profile(|| x.conv2d(&w, None, &Default::default()).eval());
    done?;
    agree(&profile);
    let flop: f64 = profile.kernels().iter().map(|row| row.flop).sum();
    // 2 pictures of 4 channels and 6·6 places, each of 3·3·3 multiply-adds.
    assert_eq!(flop, (2 * 2 * 4 * 36 * 27) as f64);
    Ok(())
}

#[test]
fn what_runs_inside_a_loop_counts_for_itself() -> Result<()> {
    let (w, xs) = (Tensor::ones([16, 16]), Tensor::ones([7, 4, 16]));
    limpid_core::eval([&w, &xs])?;
    let (profile, done) = profile(|| {
        let (last, _) = loop_over(&[Tensor::zeros([4, 16])], &[xs.clone()], |carry, x| {
            (vec![(carry[0].matmul(&w) + &x[0]).tanh()], vec![])
        });
        last[0].eval()
    });
    done?;
    agree(&profile);
    let rows = profile.kernels();
    let dot = rows.iter().find(|row| row.name.starts_with("dot")).unwrap();
    assert_eq!(dot.calls, 7.0);
    assert!(rows.iter().any(|row| row.name == "loop 7 steps" && row.calls == 1.0 && row.flop == 0.0));
    Ok(())
}

#[test]
fn modules_are_those_that_recorded_also_in_a_replay() -> Result<()> {
    let line = std::panic::Location::caller();
    let scope = |path: &str| origin::enter(path.into(), "Layer".into(), None, line);
    let w = Tensor::ones([4, 4]);
    let mut step = Capture::new(|x: &[Tensor]| {
        let y = {
            let _inner = scope("net.inner");
            x[0].matmul(&w)
        };
        let _outer = scope("net");
        vec![y.cumsum(0)]
    });
    let x = Tensor::ones([4, 4]);
    (0..2).try_for_each(|_| step.run(&[&x]).map(drop))?;
    let (profile, done) = profile(|| (0..3).try_for_each(|_| step.run(&[&x]).map(drop)));
    done?;
    agree(&profile);
    let profile = profile.per(3);
    let rows = profile.modules();
    assert_eq!((row(&rows, "net.inner").calls, row(&rows, "net").calls), (1.0, 1.0));
    let text = profile.to_string();
    for part in [
        " a step of 3, ",
        "3 runs of plans, 0 plans made",
        "\nkernel ",
        "\nmodule ",
        "\nnet.inner ",
        "\nmemory: scratch ",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    Ok(())
}

#[test]
fn looking_on_changes_no_bit_and_no_plan() -> Result<()> {
    for dtype in [DType::F32, DType::F64, DType::BF16, DType::F16] {
        let run = || {
            manual_seed(3);
            let x = Tensor::randn([2, 5, 8]).to_dtype(dtype).requires_grad_();
            let y = x.scaled_dot_product_attention(&x, &x, &AttentionOptions::new().is_causal(true)).dropout(0.5);
            let gradient = gradients(&y.square().sum(..), &[&x])?.remove(0).expect("y depends on x");
            let values = [&y, &gradient].map(|t| t.to_dtype(DType::F64).to_vec::<f64>());
            values.into_iter().collect::<Result<Vec<_>>>()
        };
        let plain = run()?;
        let before = stats();
        let (profile, seen) = profile(run);
        assert_eq!(seen?, plain);
        assert_eq!(stats().plans, before.plans);
        assert_eq!(
            profile.kernels().iter().map(|row| row.calls).sum::<f64>(),
            (stats().kernels - before.kernels) as f64
        );
    }
    Ok(())
}

#[test]
fn a_failed_plan_leaves_a_profile_that_agrees() {
    let x = Tensor::from([1i64, 2]);
    let (profile, result) = profile(|| {
        let failed = Tensor::from([1.0f32]).gather(0, &x).eval();
        Tensor::from([1.0f32]).exp().eval().and(failed)
    });
    assert!(result.is_err());
    agree(&profile);
}
