"""The registry of methods: what each removes, when, and at what price (TAX-7)."""

from dataclasses import dataclass

from pruning_lib.checks import check_choice

STRUCTURES = ("unstructured", "semi-structured", "structured")
TIMES = ("before", "during", "after")
DATA = ("none", "a few unlabeled samples", "a few labeled samples", "the training set")


@dataclass(frozen=True)
class Method:
    """One row of the taxonomy; weights are counted as K, samples as N, one layer's columns and rows as d_col, d_row.

    `rule` says which weights stay, as matplotlib's mathtext; `data` is what choosing takes, one of `DATA`;
    `compensation` says whether the training set is needed for the rest.
    """

    name: str
    structures: tuple[str, ...]
    rule: str
    time: str
    data: str
    compensation: str
    cost: str
    source: str
    notebook: str
    function: str


# A new one is compared, or it is said why not: `VARIANTS` and `NOT_COMPARED` of comparison/variants.py.
METHODS = (
    Method(
        name="SNIP",
        structures=("unstructured",),
        rule=r"largest $|g_j|$, $g_j = w_j\,\partial L/\partial w_j$",
        time="before",
        data="a few labeled samples",
        compensation="none: the rest is trained afterwards",
        cost="one forward and backward pass",
        source="Lee et al. 2019",
        notebook="02_snip",
        function="pruning_lib.before_training.snip.prune",
    ),
    Method(
        name="Iterative SNIP",
        structures=("unstructured",),
        rule=r"SNIP's $|g_j|$, anew after each cut",
        time="before",
        data="a few labeled samples",
        compensation="none: the rest is trained afterwards",
        cost="one forward and backward pass per round",
        source="de Jorge et al. 2021",
        notebook="07_comparison",
        function="pruning_lib.before_training.iterative_snip.prune",
    ),
    Method(
        name="SynFlow",
        structures=("unstructured",),
        rule=r"largest $w_j\,\partial R/\partial w_j$, $R = 1^\top\Pi_l\,|W_l|\,1$",
        time="before",
        data="none",
        compensation="none: the rest is trained afterwards",
        cost="one forward and backward pass per round",
        source="Tanaka et al. 2020",
        notebook="07_comparison",
        function="pruning_lib.before_training.synflow.prune",
    ),
    Method(
        name="SSS",
        structures=("structured",),
        rule=r"gates $\lambda \ne 0$ of $\min\ L + \gamma\,\|\lambda\|_1$",
        time="during",
        data="the training set",
        compensation="the weights train along",
        cost="one training run",
        source="Huang and Wang 2018",
        notebook="03b_block_selection",
        function="pruning_lib.during_training.sss.add_gates",
    ),
    Method(
        name="Network Slimming",
        structures=("structured",),
        rule=r"largest scales of $\min\ L + \gamma\,\Sigma\,|s|$",
        time="during",
        data="the training set",
        compensation="retraining",
        cost="one training run, then retraining",
        source="Liu et al. 2017",
        notebook="03b_block_selection",
        function="pruning_lib.during_training.slimming.penalty",
    ),
    Method(
        name="Magnitude",
        structures=("unstructured",),
        rule=r"largest $|w_j|$",
        time="after",
        data="none",
        compensation="retraining",
        cost="one selection, then retraining",
        source="Han et al. 2015",
        notebook="04b_obs_measured",
        function="pruning_lib.after_training.magnitude.prune",
    ),
    Method(
        name="Gradual magnitude",
        structures=("unstructured",),
        rule=r"largest $|w_j|$; $s_t = s - s(1 - t/T)^3$",
        time="during",
        data="none",
        compensation="the weights train along",
        cost="one selection per round",
        source="Zhu and Gupta 2017",
        notebook="04b_obs_measured",
        function="pruning_lib.after_training.retraining.run",
    ),
    Method(
        name="2:4, 4:8",
        structures=("semi-structured",),
        rule=r"$n$ largest $|w|$ of every $m$",
        time="after",
        data="none",
        compensation="retraining",
        cost="one comparison within each group",
        source="Mishra et al. 2021",
        notebook="01_taxonomy",
        function="pruning_lib.structure.keep_n_of_m",
    ),
    Method(
        name="Stripes",
        structures=("semi-structured",),
        rule=r"largest $\Sigma_c |w_{ocij}|$ of $1 \times 1 \times C$",
        time="during",
        data="the training set",
        compensation="the weights train along",
        cost="one training run",
        source="Meng et al. 2020",
        notebook="01_taxonomy",
        function="pruning_lib.structure.keep_stripes",
    ),
    Method(
        name="Kernel patterns",
        structures=("semi-structured",),
        rule=r"4 of each kernel, in the shapes voted for",
        time="after",
        data="none",
        compensation="retraining",
        cost="one vote of all kernels",
        source="Ma et al. 2020",
        notebook="01_taxonomy",
        function="pruning_lib.structure.keep_patterns",
    ),
    Method(
        name="Filter norms",
        structures=("structured",),
        rule=r"largest $\Sigma\,|w|$ of a filter",
        time="after",
        data="none",
        compensation="retraining",
        cost="one norm per filter",
        source="Li et al. 2017",
        notebook="01_taxonomy",
        function="pruning_lib.structure.score_units",
    ),
    Method(
        name="Optimal Brain Surgeon",
        structures=("unstructured",),
        rule=r"largest $w_q^2\,/\,2[H^{-1}]_{qq}$",
        time="after",
        data="the training set",
        compensation="exact to second order, all weights",
        cost="N·K² for the inverse Hessian",
        source="Hassibi and Stork 1993",
        notebook="04_obs",
        function="pruning_lib.after_training.obs.prune",
    ),
    Method(
        name="SparseGPT",
        structures=("unstructured", "semi-structured"),
        rule=r"largest $w_{rj}^2\,/\,U_{jj}^2$, column by column",
        time="after",
        data="a few unlabeled samples",
        compensation="exact per layer, columns to the right",
        cost="d_col³ + d_row·d_col² per layer",
        source="Frantar and Alistarh 2023",
        notebook="05_sparsegpt",
        function="pruning_lib.after_training.sparsegpt.prune_weight",
    ),
    Method(
        name="Wanda",
        structures=("unstructured", "semi-structured"),
        rule=r"largest $|w_{rj}|\,\|x_j\|_2$ of a row",
        time="after",
        data="a few unlabeled samples",
        compensation="none",
        cost="one norm per input column",
        source="Sun et al. 2024",
        notebook="05b_sparsegpt_model",
        function="pruning_lib.after_training.wanda.prune_weight",
    ),
    Method(
        name="Swaps",
        structures=("unstructured", "semi-structured"),
        rule=r"exchange pairs while $tr(DHD^\top)$ falls",
        time="after",
        data="a few unlabeled samples",
        compensation="exact per layer, all that stays",
        cost="some d_row·d_col³ per layer",
        source="after SparseSwaps, 2025",
        notebook="05c_after_sparsegpt",
        function="pruning_lib.after_training.swaps.prune_weight",
    ),
)


def methods_of(structure: str | None = None, time: str | None = None) -> list[Method]:
    """The methods that remove in this `structure` and at this `time`; left out, any.

    Raises
    ------
    ValueError
        If `structure` is not one of `STRUCTURES` or `time` not one of `TIMES`.
    """
    if structure is not None:
        check_choice("structure", structure, STRUCTURES)
    if time is not None:
        check_choice("time", time, TIMES)
    return [
        method
        for method in METHODS
        if (structure is None or structure in method.structures) and (time is None or time == method.time)
    ]
