#!/bin/sh
# The whole job on drawn street scenes, in minutes on two CPU cores:
# raw dataset folders -> converted -> preprocessed -> CDDA trained -> evaluated -> painted.
set -e
cd "$(dirname "$0")"
. tools/environment.sh

say() { printf '\n== %s\n' "$*"; }

say "1/6 Drawing street scenes in the raw formats of GTA, SYNTHIA and Cityscapes (data/demo)"
python tools/make_demo_data.py --out data/demo

say "2/6 Converting the labels to trainIds, counting classes"
python tools/convert_datasets/gta.py data/demo/gta --nproc 2
python tools/convert_datasets/synthia.py data/demo/synthia --nproc 2
python tools/convert_datasets/cityscapes.py data/demo/cityscapes --nproc 2

say "3/6 Cutting 500 source crops and counting their depth statistics (preprocessed/demo_gta)"
python run_seg.py --config configs/demo/cdda_daformer --dataset_name gta \
    --source_preprocessed_path preprocessed/demo_gta --num 500

say "4/6 Training CDDA, continuing from a network that knows the source scenes only"
python run_experiments.py --config configs/demo/cdda_daformer
run=$(ls -td work_dirs/local-demo/*_demo_cdda_daformer_*/ | head -n 1)
run=${run%/}

say "5/6 Evaluating the best checkpoint and painting its predictions"
sh test.sh "$run"

say "6/6 Drawing curves and a contact sheet"
python tools/plot_curves.py "$run"
python tools/contact_sheet.py configs/demo/cdda_daformer --preds "$run/preds" --depth \
    --out "$run/predictions.png"

say "Look at"
echo "  $run/results.json     IoU of every class"
echo "  $run/predictions.png  image, label, prediction, depth"
echo "  $run/curves.png       losses and mIoU over the iterations"
echo "  $run/debug/           what the training saw: mixed images, pseudo-labels, matched crops"
echo "  $run/preds/           the painted predictions, one file per image"
