import numpy as np
from PIL import Image

from mmseg.datasets.custom import CustomDataset
from mmseg.datasets.labels import PALETTE
from mmseg.visualization.contact_sheet import contact_sheet
from mmseg.visualization.mosaic import GAP, TITLE_HEIGHT
from mmseg.visualization.palettes import heat, paint


def test_contact_sheet_shows_image_label_prediction_and_depth_side_by_side(tmp_path):
    """Two images of 12x20; predictions lie by their base name, as a test tool may write them."""
    rng = np.random.default_rng(1)
    for name in ("a", "b"):
        for folder in ("images/city", "labels/city", "depth/city"):
            (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        image = rng.integers(0, 256, (12, 20, 3), np.uint8)
        Image.fromarray(image).save(tmp_path / f"images/city/{name}.png")
        Image.fromarray(np.full((12, 20), 3, np.uint8)).save(tmp_path / f"labels/city/{name}.png")
        Image.fromarray(np.zeros((12, 20), np.uint8)).save(tmp_path / f"depth/city/{name}.png")
        paint(tmp_path / "preds" / f"{name}.png", np.full((12, 20), 7))
    dataset = CustomDataset(
        pipeline=[],
        img_dir=str(tmp_path / "images"),
        ann_dir=str(tmp_path / "labels"),
        img_suffix=".png",
        seg_map_suffix=".png",
        test_mode=True,
    )
    sheet = contact_sheet(
        dataset, [1, 0], {"CDDA": tmp_path / "preds"}, tmp_path / "depth", cell_width=20
    )
    top, step = GAP + TITLE_HEIGHT, 20 + GAP
    cells = [sheet[top : top + 12, GAP + x * step : GAP + x * step + 20] for x in range(4)]
    assert np.array_equal(cells[0], image)
    assert (cells[1] == PALETTE[3]).all()
    assert (cells[2] == PALETTE[7]).all()
    assert (cells[3] == heat(np.full((1, 1), 255.0), 0, 255)).all()  # farthest bin
    assert sheet.shape == (2 * (12 + TITLE_HEIGHT + GAP) + GAP, 4 * step + GAP, 3)
