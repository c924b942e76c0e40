use crate::*;

#[test]
fn layer() {
    let device = device();
    let x = random([5, 37], &device);
    let ours = wgpu_norm_burn::LayerNormConfig::new(37).init(&device);
    let theirs = burn::nn::LayerNormConfig::new(37).init(&device);
    let (a, b) = (numbers(&ours.forward(x.clone())), numbers(&theirs.forward(x)));
    println!("{:?}\n{:?}", &a[..5], &b[..5]);
    for (a, b) in a.iter().zip(&b) {
        assert!((a - b).abs() < 1e-5, "{a} {b}");
    }
}

#[test]
fn layer_backward() {
    let device = device().autodiff();
    let x = random([5, 37], &device).require_grad();
    let w = random([5, 37], &device);
    let ours = wgpu_norm_burn::LayerNormConfig::new(37).init(&device);
    let g = (ours.forward(x.clone()) * w).sum().backward();
    println!("{:?}", &numbers(&x.grad(&g).unwrap())[..5]);
    println!("{:?}", &numbers(&ours.gamma.grad(&g).unwrap())[..5]);
}
