"""Every size and footprint that Q-SNN and QP-SNN print for their own networks, to the last printed digit.

The networks are written as plain lists here; tests/model counts our own models and must find the same.
"""

import pytest

from bitspike.cost import (
    LayerCost,
    as_float,
    kept_channels,
    memory,
    qpsnn_model_size,
    qsnn_footprint,
    qsnn_model_size,
)


def network(convolutions, readout, *, weight_bits=1, membrane_bits=2, skips=()):
    """Rows from (input channels, output channels, kernel, map side) per convolution; 8-bit ends."""
    rows = []
    for number, (inputs, outputs, kernel, side) in enumerate(convolutions):
        weights = inputs * outputs * kernel**2
        rows.append(
            LayerCost(
                name=f"conv{number}",
                kind="conv",
                end=number == 0,
                weights=weights,
                weight_bits=8 if number == 0 else weight_bits,
                biases=0,
                norms=outputs,
                neurons=outputs * side**2,
                membrane_bits=membrane_bits,
                macs=weights * side**2,
                static_input=number == 0,
            )
        )
    for number, (inputs, outputs, side) in enumerate(skips):
        weights = inputs * outputs
        rows.append(
            LayerCost(
                name=f"skip{number}",
                kind="skip",
                end=False,
                weights=weights,
                weight_bits=weight_bits,
                biases=0,
                norms=outputs,
                neurons=0,
                membrane_bits=membrane_bits,
                macs=weights * side**2,
            )
        )
    features, classes = readout
    rows.append(
        LayerCost(
            name="readout",
            kind="readout",
            end=True,
            weights=features * classes,
            weight_bits=8,
            biases=classes,
            norms=0,
            neurons=0,
            membrane_bits=membrane_bits,
            macs=features * classes,
        )
    )
    return rows


def chain(inputs, widths_and_sides, kernel=3):
    """A plain sequence of convolutions."""
    layers = []
    for width, side in widths_and_sides:
        layers.append((inputs, width, kernel, side))
        inputs = width
    return layers


def resnet19(classes=10, **bits):
    widths = [(128, 32)] * 7 + [(256, 16)] * 6 + [(512, 8)] * 4
    skips = [(128, 256, 16), (256, 512, 8)]
    return network(chain(3, widths), (512, classes), skips=skips, **bits)


VGG16 = [(64, 32)] * 2 + [(128, 16)] * 2 + [(256, 8)] * 3 + [(512, 4)] * 3 + [(512, 2)] * 3


def vgg16(classes=10, features=512, ratios=(0.0, 0.0), **bits):
    """`ratios`: removed share of the first seven and the next five convolutions; the last one stays."""
    shares = [ratios[0]] * 7 + [ratios[1]] * 5 + [0.0]
    widths = [(kept_channels(width, share), side) for (width, side), share in zip(VGG16, shares, strict=True)]
    return network(chain(3, widths), (features, classes), **bits)


def vggsnn(inputs=2, side=48, classes=10, features=4608, ratios=(0.0,) * 8, **bits):
    sides = [side] * 2 + [side // 2] * 2 + [side // 4] * 2 + [side // 8] * 2
    widths = [
        (kept_channels(width, share), map_side)
        for width, share, map_side in zip((64, 128, 256, 256, 512, 512, 512, 512), ratios, sides, strict=True)
    ]
    return network(chain(inputs, widths), (features, classes), **bits)


def wide_resnet20(classes=10, first_ratio=0.0, second_ratio=0.0, **bits):
    """QP-SNN's network; its skips have no parameters.

    `second_ratio` is that of the second convolutions of stages 1 and 2 and of the very first block. The
    paper prints the stronger ratio for stage 2, but its sizes only come out this way.
    """
    widths = [(kept_channels(64, 0.1 if first_ratio else 0.0), 32)]
    for stage, (width, side) in enumerate(((128, 32), (256, 16), (512, 8))):
        for block in range(3):
            first = second_ratio if (stage, block) == (0, 0) else first_ratio
            second = 0.0 if stage == 2 else second_ratio
            widths += [(kept_channels(width, first), side), (kept_channels(width, second), side)]
    return network(chain(3, widths), (512, classes), **bits)


def sew_resnet18():
    """ImageNet's ResNet18 at 224: a 7x7 stem, four stages of four 3x3, three 1x1 skips with batch norm."""
    widths = [(64, 56)] * 4 + [(128, 28)] * 4 + [(256, 14)] * 4 + [(512, 7)] * 4
    skips = [(64, 128, 28), (128, 256, 14), (256, 512, 7)]
    return network([(3, 64, 7, 112), *chain(64, widths)], (512, 1000), skips=skips)


def assert_printed(size_in_bytes, printed):
    """Equal in megabytes (10^6) at as many decimals as the paper prints."""
    decimals = len(printed.partition(".")[2])
    assert f"{size_in_bytes / 1e6:.{decimals}f}" == printed


def parameters(rows):
    return sum(row.parameters for row in rows)


def without_norms(rows):
    return sum(row.weights + row.biases for row in rows)


# Q-SNN


def test_qsnn_parameter_counts():
    assert parameters(resnet19()) == 12_569_226
    assert parameters(vgg16()) == 14_724_042
    assert parameters(vggsnn()) == 9_268_746
    assert parameters(vggsnn(features=512)) == 9_227_786


def test_qsnn_model_sizes():
    assert qsnn_model_size(resnet19()) == 1_619_338  # Figure 3 prints 1.62 MB
    assert_printed(qsnn_model_size(resnet19()), "1.62")
    assert_printed(qsnn_model_size(resnet19(classes=100)), "1.666")
    assert_printed(qsnn_model_size(vgg16()), "1.879")
    assert_printed(qsnn_model_size(vggsnn(features=512)), "1.18")
    assert_printed(qsnn_model_size(vggsnn()), "1.22")
    assert_printed(qsnn_model_size(as_float(resnet19())), "50.28")
    assert_printed(qsnn_model_size(as_float(vgg16())), "58.90")
    assert_printed(qsnn_model_size(as_float(vggsnn(features=512))), "36.91")


RESNET19_FOOTPRINTS = {
    1: ("50.80", "1.75", "1.68", "1.65"),
    64: ("83.83", "10.0", "5.81", "3.72"),
    256: ("184.49", "35.17", "18.40", "10.01"),
}
VGG16_FOOTPRINTS = {
    1: ("59.16", "1.96", "1.93", "1.91"),
    64: ("75.67", "6.09", "3.99", "2.94"),
    256: ("126.01", "18.67", "10.28", "6.09"),
}
VGGSNN_FOOTPRINTS = {
    1: ("37.44", "1.31", "1.25", "1.21"),
    64: ("70.47", "9.57", "5.38", "3.28"),
    256: ("171.13", "34.74", "17.96", "9.57"),
}


@pytest.mark.parametrize("batch", [1, 64, 256])
def test_qsnn_table_2_resnet19(batch):
    full, *low = RESNET19_FOOTPRINTS[batch]
    assert_printed(qsnn_footprint(as_float(resnet19()), batch=batch), full)
    for membrane_bits, printed in zip((8, 4, 2), low, strict=True):
        assert_printed(qsnn_footprint(resnet19(membrane_bits=membrane_bits), batch=batch), printed)


# The low-bit rows of VGG16 are printed about 0.015 MB above what the paper's rule gives: a known misprint.
VGG16_DERIVED = {
    1: ("1.945", "1.912", "1.896"),
    64: ("6.074", "3.976", "2.928"),
    256: ("18.656", "10.268", "6.074"),
}
VGG16_GAP = 0.015e6


@pytest.mark.parametrize("batch", [1, 64, 256])
def test_qsnn_table_2_vgg16(batch):
    full, *misprinted = VGG16_FOOTPRINTS[batch]
    assert_printed(qsnn_footprint(as_float(vgg16()), batch=batch), full)
    for membrane_bits, printed, derived in zip((8, 4, 2), misprinted, VGG16_DERIVED[batch], strict=True):
        footprint = qsnn_footprint(vgg16(membrane_bits=membrane_bits), batch=batch)
        assert_printed(footprint, derived)
        assert abs(float(printed) * 1e6 - footprint - VGG16_GAP) < 0.005e6


@pytest.mark.parametrize("batch", [1, 64, 256])
def test_qsnn_table_2_vgg16_gap_is_a_float_readout(batch):
    """Our reading: the misprinted rows count the readout at 32 bits; 5,130 numbers, 3 bytes more each."""
    for membrane_bits, printed in zip((8, 4, 2), VGG16_FOOTPRINTS[batch][1:], strict=True):
        *hidden, readout = vgg16(membrane_bits=membrane_bits)
        rows = [*hidden, *as_float([readout])]
        assert qsnn_model_size(rows) - qsnn_model_size([*hidden, readout]) == 15_390
        assert_printed(qsnn_footprint(rows, batch=batch), printed)


@pytest.mark.parametrize("batch", [1, 64, 256])
@pytest.mark.parametrize("network_of_the_row", [{"inputs": 3}, {"classes": 11}])
def test_qsnn_table_2_vggsnn(batch, network_of_the_row):
    """The row is a 32x32 network with a 512-input readout, though the data are 48x48.

    With 2 input channels and 10 classes two cells (5.38, 34.74) come out 0.01 lower. Three channels, as for
    CIFAR, or 11 classes, as for DVS-Gesture, reproduce all twelve.
    """

    def row(**bits):
        return vggsnn(side=32, features=512, **network_of_the_row, **bits)

    full, *low = VGGSNN_FOOTPRINTS[batch]
    assert_printed(qsnn_footprint(as_float(row()), batch=batch), full)
    for membrane_bits, printed in zip((8, 4, 2), low, strict=True):
        assert_printed(qsnn_footprint(row(membrane_bits=membrane_bits), batch=batch), printed)


def test_qsnn_membrane_of_all_layers_and_of_the_largest():
    sizes = {
        "resnet19": (resnet19(), 1_441_792, 131_072, ("5.77", "1.44", "0.72", "0.36")),
        "vgg16": (vgg16(), 276_480, 65_536, ("1.11", "0.28", "0.14", "0.07")),
        "vggsnn": (vggsnn(), 921_600, 294_912, ("3.69", "0.92", "0.46", "0.23")),
    }
    for rows, neurons, largest, printed in sizes.values():
        assert sum(row.neurons for row in rows) == neurons
        assert max(row.neurons for row in rows) == largest
        assert_printed(memory(as_float(rows)).membrane_all, printed[0])
        assert memory(as_float(rows)).membrane_largest == 4 * largest
    for bits, printed in zip((8, 4, 2), ("1.44", "0.72", "0.36"), strict=True):
        assert_printed(memory(resnet19(membrane_bits=bits)).membrane_all, printed)
    for bits, printed in zip((8, 4, 2), ("0.92", "0.46", "0.23"), strict=True):
        assert_printed(memory(vggsnn(membrane_bits=bits)).membrane_all, printed)


def test_qsnn_leaves_out_20_kilobytes_of_channel_scales():
    channels = sum(row.norms for row in resnet19() if not row.end)
    assert_printed(channels * 4, "0.020")


# QP-SNN

DVS_RATIOS = {
    "1.46M": (0.5, 0.5, 0.5, 0.7, 0.7, 0.7, 0.7, 0.0),
    "0.9M": (0.5, 0.5, 0.5, 0.8, 0.8, 0.8, 0.8, 0.0),
    "0.25M": (0.82, 0.82, 0.82, 0.93, 0.93, 0.93, 0.93, 0.0),
}
QPSNN_SIZES = {
    "vgg16 cifar10 larger": (vgg16(ratios=(0.45, 0.51)), "4.28 2.16 1.10"),
    "vgg16 cifar10 smaller": (vgg16(ratios=(0.49, 0.80)), "1.45 0.74 0.39"),
    "vgg16 cifar100 larger": (vgg16(100, ratios=(0.45, 0.70)), "2.48 1.35 0.79"),
    "vgg16 cifar100 smaller": (vgg16(100, ratios=(0.45, 0.78)), "1.85 1.04 0.63"),
    "vgg16 tinyimagenet larger": (vgg16(200, 2048, (0.45, 0.51)), "5.90 3.78 2.72"),
    "vgg16 tinyimagenet smaller": (vgg16(200, 2048, (0.45, 0.62)), "4.67 3.17 2.41"),
    "vggsnn larger": (vggsnn(ratios=DVS_RATIOS["1.46M"]), "1.61 0.90 0.55"),
    "vggsnn middle": (vggsnn(ratios=DVS_RATIOS["0.9M"]), "1.05 0.62 0.41"),
    "vggsnn smaller": (vggsnn(ratios=DVS_RATIOS["0.25M"]), "0.40 0.29 0.24"),
    "resnet20 cifar10 larger": (wide_resnet20(10, 0.6, 0.3), "6.27 3.16 1.61"),
    "resnet20 cifar10 smaller": (wide_resnet20(10, 0.75, 0.35), "3.92 1.98 1.02"),
    "resnet20 cifar100 larger": (wide_resnet20(100, 0.6, 0.3), "6.45 3.35 1.79"),
    "resnet20 cifar100 smaller": (wide_resnet20(100, 0.75, 0.35), "4.10 2.17 1.20"),
}


@pytest.mark.parametrize("case", QPSNN_SIZES)
def test_qpsnn_table_1_sizes(case):
    rows, printed = QPSNN_SIZES[case]
    for bits, text in zip((8, 4, 2), printed.split(), strict=True):
        assert_printed(qpsnn_model_size(rows, bits), text)


def test_qpsnn_unpruned_two_bit_resnet20():
    assert_printed(qpsnn_model_size(wide_resnet20(100), 2), "4.51")
    assert_printed(qpsnn_model_size(wide_resnet20(10), 2), "4.33")


def test_qpsnn_imagenet_rows_are_the_unpruned_network():
    assert parameters(sew_resnet18()) == 11_689_512
    # The 8-bit row is printed as 13.28: a known misprint, by 0.006 MB.
    assert_printed(qpsnn_model_size(sew_resnet18(), 8), "13.29")
    assert_printed(qpsnn_model_size(sew_resnet18(), 4), "7.71")


def test_qpsnn_eight_bit_ends_would_halve_the_small_tinyimagenet_network():
    rows = vgg16(200, 2048, (0.45, 0.62), weight_bits=2)
    assert_printed(qpsnn_model_size(rows, 2), "2.41")
    assert_printed(qsnn_model_size(rows), "1.18")


def test_qpsnn_full_precision_sizes_and_parameter_counts():
    assert without_norms(wide_resnet20(10)) == 17_038_026
    assert without_norms(wide_resnet20(100)) == 17_084_196
    assert_printed(qpsnn_model_size(wide_resnet20(100), 32), "68.4")
    # Printed 58.88 = 4 bytes * the rounded 14.72 M; counted without rounding it is 58.90.
    assert_printed(4 * round(parameters(vgg16()), -4), "58.88")
    assert_printed(qpsnn_model_size(vgg16(), 32), "58.90")
    assert sum(row.neurons for row in wide_resnet20()) == 1_441_792


@pytest.mark.parametrize(
    ("rows", "printed_millions"),
    [
        (vgg16(ratios=(0.45, 0.51)), "4.25"),
        (vgg16(ratios=(0.49, 0.80)), "1.42"),
        (vgg16(100, ratios=(0.45, 0.70)), "2.31"),
        (vgg16(100, ratios=(0.45, 0.78)), "1.68"),
        (vgg16(200, 2048, (0.45, 0.51)), "4.65"),
        (vgg16(200, 2048, (0.45, 0.62)), "3.43"),
        (vggsnn(ratios=DVS_RATIOS["1.46M"]), "1.46"),
        (vggsnn(ratios=DVS_RATIOS["0.9M"]), "0.9"),
    ],
)
def test_qpsnn_pruned_parameter_counts(rows, printed_millions):
    assert_printed(parameters(rows), printed_millions)


def test_qpsnn_smallest_vggsnn_is_named_without_batch_norm():
    assert_printed(without_norms(vggsnn(ratios=DVS_RATIOS["0.25M"])), "0.25")
    assert_printed(parameters(vggsnn(ratios=DVS_RATIOS["0.25M"])), "0.26")


# Q-SpiNN's networks


@pytest.mark.parametrize(
    ("neurons", "printed"), [(100, "0.31"), (400, "1.254"), (900, "2.82"), (1600, "5.02"), (4900, "15.37")]
)
def test_unsupervised_network_sizes(neurons, printed):
    row = LayerCost("excitatory", "linear", True, 784 * neurons, 32, 0, 0, neurons, 32, 784 * neurons)
    assert_printed(memory([row]).weights, printed)


def test_unsupervised_network_gains_four_times_at_eight_bits():
    row = LayerCost("excitatory", "linear", True, 784 * 400, 8, 0, 0, 400, 8, 784 * 400)
    assert_printed(memory([row]).weights, "0.314")
    assert memory(as_float([row])).total == 4 * memory([row]).total


def test_decolle_convolutions():
    rows = network(chain(2, [(64, 16), (128, 16), (128, 8)], kernel=7), (8192, 11))
    weights = sum(row.weights for row in rows if row.kind == "conv")
    assert_printed(4 * weights, "4.84")


# The functions themselves


@pytest.mark.parametrize(
    ("channels", "ratio", "kept"),
    [(64, 0.45, 35), (10, 0.9, 1), (128, 0.35, 83), (512, 0.0, 512), (3, 0.5, 1)],
)
def test_kept_channels(channels, ratio, kept):
    assert kept_channels(channels, ratio) == kept


@pytest.mark.parametrize(("channels", "ratio"), [(0, 0.5), (64, 1.0), (64, -0.1), (64, float("nan"))])
def test_kept_channels_refuses(channels, ratio):
    with pytest.raises(ValueError, match="ratio of at least 0"):
        kept_channels(channels, ratio)


def test_batch_and_bits_are_checked():
    with pytest.raises(ValueError, match="batch is 0"):
        qsnn_footprint(resnet19(), batch=0)
    with pytest.raises(ValueError, match="bits is 33"):
        qpsnn_model_size(resnet19(), 33)
