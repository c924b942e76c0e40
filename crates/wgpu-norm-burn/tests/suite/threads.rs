//! Tensors of several threads, each of which is a stream of Burn's.

use wgpu_norm_burn::LayerNormConfig;

use crate::*;

/// What one thread made is normalized in another, while all of them work on the same queue.
#[test]
fn streams_of_burn() {
    let device = device();
    let norm = LayerNormConfig::new(65).init(&device);
    let inputs: Vec<Tensor<2>> = (0..4).map(|i| random([32, 65], &device) * (i + 1) as f32).collect();
    let expected: Vec<_> =
        inputs.iter().map(|x| numbers(&norm.forward(x.clone()).matmul(x.clone().transpose()))).collect();
    std::thread::scope(|scope| {
        for (x, expected) in inputs.iter().zip(&expected) {
            let norm = norm.clone();
            scope.spawn(move || {
                for _ in 0..20 {
                    // work of this thread's stream before and behind the norm
                    let before = x.clone() + 0.0;
                    let after = norm.forward(before).matmul(x.clone().transpose());
                    assert_eq!(&numbers(&after), expected);
                }
            });
        }
    });
}

/// Memory of tensors that are gone is Burn's again at once: what waits in the queue is not overwritten.
#[test]
fn memory_in_turn() {
    let device = device();
    let norm = LayerNormConfig::new(64).init(&device);
    let x = random([64, 64], &device);
    let expected = numbers(&norm.forward(x.clone()));
    for i in 0..200 {
        let normalized = norm.forward(x.clone() * 1.0);
        // takes the memory of the temporary input
        let _host = Tensor::<2>::from_data(burn::tensor::TensorData::new(vec![i as f32; 4096], [64, 64]), &device);
        if i % 20 == 0 {
            assert_eq!(numbers(&normalized), expected, "round {i}");
        }
    }
}
