"""The catalogue's rows about RMSProp, in words. Equation and section numbers are those of `04_rmsprop`."""

from __future__ import annotations

from dataclasses import replace

from autograder.misconceptions import Row

#: Rows about RMSProp that are no wrong program, and where the course deals with them.
ELSEWHERE = {
    "R9": "rmsprop.q1 (torch's first step is lr/√(1 − α), ten times lr at the default)",
}

_V, _STEP, _DECAY, _BUFFER, _CENTRED, _HAT = (f"equation (4.{n})" for n in (3, 4, 5, 6, 7, 8))
_GROUPS = "the list in section 2, self.param_groups"
_STATE = "the list in section 2, self.state[p]"
_GRAD = "the list in section 2, p.grad"

# --- rmsprop.precondition -------------------------------------------------------------------------------------------

PRECONDITION_ROWS: dict[str, Row] = {
    "R1": Row(
        "eps inside the square root",
        "You compute √(v + eps). torch adds eps to the root: √v + eps. With eps = 1e-8 both look alike until v is small; "
        "then the step is limited 10 000 times sooner, because √1e-8 is 1e-4.",
        "equation (4.2)",
        {"eps": "inside"},
    ),
    "R4s": Row(
        "eps² inside the square root",
        "You compute √(v + eps²). It limits the step much as √v + eps does, but it is not the same number.",
        "equation (4.2)",
        {"eps": "squared inside"},
    ),
    "R4m": Row(
        "max(√v, eps) in place of √v + eps",
        "A floor under the root is a reasonable idea, but it is not what torch does: eps is added.",
        "equation (4.2)",
        {"eps": "maximum"},
    ),
    "A4": Row(
        "no eps",
        "You divide by √v alone. Where the gradient has always been 0 that is 0/0 = nan. (nan_to_num mends only that: the "
        "other steps lack eps as well.)",
        "equation (4.2)",
        {"eps": "missing"},
        also=({"eps": "nan to 0"},),
    ),
    "A3": Row(
        "eps added to the weight",
        "A missing pair of brackets: lr·g/√v + eps adds eps to the result. It belongs to the divisor: lr·g/(√v + eps).",
        "equation (4.2)",
        {"eps": "on the step"},
        also=({"eps": "on the weight"},),
    ),
    "R4": Row(
        "the square root is missing",
        "You divide by v + eps. v has the unit of g², so the step shrinks as the gradient grows: like 1/g.",
        "equation (4.2)",
        {"root": "missing"},
    ),
    "R80": Row(
        "v is squared",
        "v is the typical *square* of the gradient already. Its root has the unit of g.",
        "equation (4.2)",
        {"root": "squared"},
    ),
    "R79": Row(
        "divided by this gradient's own size",
        "You divide g by |g|: every step has the length lr. What divides is v, the usual size, and not the size of this one "
        "gradient.",
        "equation (4.2)",
        {"given v": "not used"},
    ),
    "R63": Row(
        "plain gradient descent",
        "Nothing is divided: the step is lr·g.",
        "equation (4.2)",
        {"divides": "not at all"},
    ),
    "R13": Row(
        "multiplied by √v + eps instead of divided",
        "Large gradients get even longer steps. A preconditioner divides by the typical size.",
        "equation (4.2)",
        {"divides": "multiplies"},
    ),
    "M5": Row(
        "the sign of the update",
        "The weight moves along +g: that climbs. Gradient descent subtracts.",
        "equation (4.2)",
        {"sign": "up"},
    ),
    "R12": Row(
        "lr is missing",
        "The step is g/(√v + eps), of size 1. Multiply it by lr.",
        "equation (4.2)",
        {"lr": "missing"},
    ),
    "R84": Row(
        "lr and eps change places",
        "You multiply by eps and add lr to the root.",
        "equation (4.2)",
        {"arguments": "swapped"},
    ),
    "A29": Row(
        "eps is a number in the code",
        "The function is given its eps: use the argument, not 1e-8.",
        "the docstring: eps",
        {"arguments": "eps fixed"},
    ),
    "R89": Row(
        "w stays wherever v is 0",
        "Where v is 0 and g is not, the step is lr·g/eps, long as it is. eps makes the case distinction needless: 0/eps is 0.",
        "equation (4.2)",
        {"given v": "stays at 0"},
        coincides="where v is not 0",
    ),
    "R36": Row(
        "v is updated here",
        "v is given, and stays as it is: this function only uses it. How v comes about is section 2.",
        "the docstring: g and v stay as they are",
        {"given v": "updated"},
    ),
    "R37": Row(
        "the root is taken in place",
        "`v.sqrt_()` and `v.add_(eps)` write into the caller's v. Without the last underscore they make new tensors.",
        "the docstring: g and v stay as they are",
        {"given v": "rooted"},
    ),
    "M10": Row(
        "the gradient is changed",
        "`g *= lr` and `g.mul_(…)` write into the caller's tensor. Make a new one: `lr * g`.",
        "the docstring: g and v stay as they are",
        {"gradient": "changed"},
    ),
    "M9": Row(
        "the weight is not updated in place",
        "`w = w - …` makes a new tensor and leaves the caller's as it was. Write `w.sub_(…)` or `w -= …`.",
        "the docstring: w is updated in place",
        {"weight": "rebound"},
    ),
}

# --- rmsprop.rmsprop ------------------------------------------------------------------------------------------------

_EPS_AND_ROOT = {
    row: replace(PRECONDITION_ROWS[row], reread=_STEP)
    for row in ("R1", "R4s", "R4m", "A4", "A3", "R4", "R80", "R63", "R13", "M5", "R12")
}

_SQUARES: dict[str, Row] = {
    "R4a": Row(
        "v averages |g| instead of g²",
        "You average |g|, and take the root of that or leave it out. torch averages g² and takes the root: a root mean square "
        "counts large gradients more.",
        _V,
        {"square": "absolute"},
        also=({"square": "absolute", "root": "missing"},),
    ),
    "R76": Row(
        "v is the square of an average",
        "You average g and square the average: with changing signs it goes to 0, and the steps explode. Square first, then "
        "average.",
        _V,
        {"square": "squared mean"},
    ),
    "A7g": Row(
        "v averages g instead of g²",
        "Without the square v can be negative, and its root is nan.",
        _V,
        {"square": "not squared"},
    ),
    "A7t": Row(
        "v is one number for the whole tensor",
        "g² is averaged over the tensor's elements. RMSProp keeps one v per element: each weight has its own lr.",
        _V,
        {"square": "tensor mean"},
        coincides="for a tensor with a single element",
    ),
    "R38": Row(
        "v averages squared deviations from the mean",
        "You average (g − m)². RMSProp averages g² itself; centred, it subtracts the square of the averaged gradient at "
        "the end, which is not the same while m moves.",
        _V,
        {"square": "deviations"},
    ),
    "R5": Row(
        "v adds up all squared gradients",
        "v = v + g² is Adagrad, the subject of section 6: it never forgets. RMSProp's v is an average that forgets.",
        _V,
        {"v": "adagrad"},
    ),
    "A14": Row(
        "the factor 1 − α is missing in v",
        "v = α·v + g² is a decaying sum, larger than the average by 1/(1 − α).",
        _V,
        {"v": "sum"},
    ),
    "R8": Row(
        "α and 1 − α change places",
        "You compute (1 − α)·v + α·g². α is the weight of the past.",
        _V,
        {"v": "swapped"},
    ),
    "E9v": Row(
        "v has no memory",
        "v is (1 − α)·g² in every step: the old v is lost. Is it read from the state before it is written?",
        _V,
        {"v": "no memory"},
        coincides="in the first step",
    ),
    "R79": replace(
        PRECONDITION_ROWS["R79"],
        explanation="v is g² of this step alone, so every step has the length lr: sign descent. v averages over the past.",
        reread=_V,
        faults={"v": "this gradient"},
    ),
    "R10": Row(
        "the update uses the old v",
        "v is averaged after it was used. In the first step it is 0, and the divisor is eps alone.",
        _STEP,
        {"v": "old"},
    ),
    "R39": Row(
        "the new v is not stored",
        "`v = alpha*v + …` makes a new tensor and leaves the stored one at 0. Change it in place, or store the new one in "
        "self.state[p].",
        _STATE,
        {"v": "not stored"},
        coincides="in the first step",
        also=({"state": "reset"},),
    ),
    "R3": Row(
        "v starts at g²",
        "With v = g² at first, the first step is lr long. torch starts at 0, so its first v is (1 − α)·g² and its first "
        "step lr/√(1 − α).",
        _V,
        {"start": "square"},
    ),
    "R3o": Row(
        "v starts at 1",
        "Old Torch7 and TensorFlow did so: the first steps are short where gradients are small. torch starts at 0.",
        _V,
        {"start": "one"},
    ),
    "E5v": Row(
        "the root is written into v",
        "`v.sqrt_()` changes v itself, so the next step averages a root. Without the underscore it makes a new tensor.",
        _STEP,
        {"stored": "rooted"},
        coincides="in the first step",
    ),
}

_STATE_ROWS: dict[str, Row] = {
    "A23": Row(
        "one v for all parameters",
        "Parameters share their state. Each has its own: self.state[p].",
        _STATE,
        {"state": "shared"},
        coincides="for an optimizer with a single parameter",
    ),
    "R33": Row(
        "the state is not where torch keeps it",
        "The weights are right, but torch looks for the average under the name in the docstring, and yours is elsewhere: "
        "under another name or outside self.state.",
        "the docstring: the names of the state",
        {"kept": "other name"},
        coincides="in the weights",
        also=({"state": "outside"},),
    ),
    "A26": Row(
        "the lr is remembered from the first step",
        "Schedulers change group['lr'] during training. Read it in every step.",
        _GROUPS,
        {"lr": "first seen"},
        coincides="at a constant lr",
    ),
    "A27": Row(
        "the lr of the constructor is used for every group",
        "self.defaults['lr'] is what the constructor was given; a group's own lr is group['lr'].",
        _GROUPS,
        {"lr": "defaults"},
        coincides="for one group at a constant lr",
    ),
    "S9": Row(
        "the first group's lr is used for every group",
        "Each group has its own lr: group['lr'] inside the loop over self.param_groups.",
        _GROUPS,
        {"lr": "first group"},
        coincides="for one group",
    ),
    "A29": Row(
        "eps is not read from its group",
        "Each group has its own: group['eps'] inside the loop, not self.param_groups[0]['eps'], "
        "self.defaults['eps'] or a number in the code.",
        _GROUPS,
        {"group eps": "first group"},
        coincides="for one group",
        also=({"group eps": "defaults"}, {"group eps": "fixed"}),
    ),
    "A31": Row(
        "only the first group is updated",
        "The parameters of the other groups never move. Loop over all of self.param_groups (and mind a `return` inside "
        "the loop).",
        _GROUPS,
        {"groups": "first only"},
        coincides="for one group",
    ),
    "A32": Row(
        "a missing gradient is taken for a zero gradient",
        "A parameter whose .grad is None is left alone: its v does not fade, and its buffer does not move it.",
        _GRAD,
        {"none": "zero"},
        coincides="as long as every parameter has a gradient in every step",
        also=({"none": "written"},),
    ),
    "R81": Row(
        "a gradient of zeros is taken for a missing one",
        "Only .grad = None leaves a parameter alone. A tensor of zeros is a gradient: v fades, the decay and the buffer move "
        "the weight, and the step counts.",
        _GRAD,
        {"zeros": "as None"},
        coincides="as long as no gradient is 0 in all its elements",
    ),
    "A34": Row(
        "`return` or `break` where `continue` belongs",
        "At the first parameter without a gradient the loop ends, and the parameters after it are not updated.",
        _GRAD,
        {"none": "returns"},
        coincides="as long as every parameter has a gradient in every step",
    ),
    "M9": Row(
        "the weight is not updated in place",
        "`p = p - …` makes a new tensor and leaves the one that the model uses as it was. Write `p.sub_(…)`.",
        "the docstring: updated in place",
        {"weight": "rebound"},
        also=({"weight": "rebound", "state": "reset"},),
    ),
    "M9s": Row(
        "the weight gets new storage",
        "`p.data = …` points the parameter at new memory. Views and CUDA graphs still see the old one. Write into it: "
        "`p.sub_(…)`.",
        "the docstring: updated in place",
        {"weight": "new storage"},
    ),
}

_ALPHA_ROW = {
    "R31": Row(
        "alpha is not read from its group",
        "Each group has its own: group['alpha'] inside the loop, not self.param_groups[0]['alpha'], "
        "self.defaults['alpha'] or a number in the code.",
        _GROUPS,
        {"group alpha": "first group"},
        coincides="for one group",
        also=(
            {"group alpha": "defaults"},
            {"group alpha": "fixed"},
            {"group alpha": "fixed 0.9"},
            {"group alpha": "fixed 0.8"},
        ),
    )
}

_OPTION_SWITCHES = ("group alpha", "group eps", "group decay", "group momentum")
_GROUP_ROWS = {
    "R82": Row(
        "no hyperparameter is read from its group",
        "self.defaults is what the constructor was given, and self.param_groups[0] is the first group. Read all of them from "
        "`group`, inside the loop over self.param_groups.",
        _GROUPS,
        {"lr": "defaults", "group centered": "defaults", **dict.fromkeys(_OPTION_SWITCHES, "defaults")},
        coincides="for one group whose hyperparameters stay",
        also=(
            {"lr": "first group", "group centered": "first group", **dict.fromkeys(_OPTION_SWITCHES, "first group")},
        ),
    ),
    "R83": Row(
        "hyperparameters are remembered from the first step",
        "Not only the lr can change during training: read every entry of `group` in every step.",
        _GROUPS,
        dict.fromkeys(_OPTION_SWITCHES, "first seen"),
        coincides="as long as the hyperparameters stay",
        also=(
            {"lr": "first seen", **dict.fromkeys(_OPTION_SWITCHES, "first seen")},
            *({switch: "first seen"} for switch in _OPTION_SWITCHES),
        ),
    ),
}

_OPTIONS: dict[str, Row] = {
    "R2": Row(
        "v is bias-corrected",
        "You divide v by 1 − α^t. That is a good idea, and section 4 builds it; torch's RMSprop does not do it.",
        _STEP,
        {"correct": "always"},
        coincides="late in training, when α^t has died out",
    ),
    "R8d": Row(
        "alpha is 0.9 by default",
        "Hinton's lecture used 0.9; torch's default is 0.99. Leave the constructor as it was given.",
        "the table in section 2",
        {"alpha default": 0.9},
        coincides="whenever alpha is given",
    ),
    "R6": Row(
        "always centred",
        "You subtract the squared mean although centered=False. RMSProp divides by the root mean square, not by the "
        "standard deviation; that is the variant centered=True.",
        _CENTRED,
        {"centered": "always"},
        coincides="with centered=True",
    ),
    "R14": Row(
        "centered has no effect",
        "With centered=True the square of the averaged gradient is subtracted from v under the root. Either "
        "group['centered'] is not read, or nothing is subtracted.",
        _CENTRED,
        {"centered": "ignored"},
        coincides="with centered=False",
    ),
    "R16": Row(
        "the mean is subtracted, not its square",
        "v has the unit of g², so what is subtracted is m². With m alone the difference can be negative, and its root nan.",
        _CENTRED,
        {"centered": "mean not squared"},
        coincides="with centered=False",
    ),
    "R17": Row(
        "the squared mean is added",
        "The variance is the mean of squares *minus* the square of the mean.",
        _CENTRED,
        {"centered": "added"},
        coincides="with centered=False",
    ),
    "R19": Row(
        "centred: divided by the variance",
        "The root is missing in the centred form: the divisor is √(v − m²) + eps.",
        _CENTRED,
        {"centered": "no root"},
        coincides="with centered=False",
    ),
    "R22": Row(
        "the subtraction is written into v",
        "`v.addcmul_(m, m, value=-1)` changes v itself, and the next step averages what is left. The difference is a new "
        "tensor; v stays the average of g².",
        _CENTRED,
        {"centered": "stored"},
        coincides="with centered=False",
    ),
    "R24": Row(
        "the gradient is centred as well",
        "You take g − m in the numerator too. Only the divisor is centred; the step is along g.",
        _CENTRED,
        {"centered": "numerator too"},
        coincides="with centered=False",
    ),
    "R20": Row(
        "the averaged gradient lacks its factor 1 − α",
        "m = α·m + g is a sum. m is an average, with the same α as v: its new gradient counts 1 − α.",
        _CENTRED,
        {"mean": "sum"},
        coincides="with centered=False",
    ),
    "R21": Row(
        "the old mean is subtracted",
        "m is averaged after it was used. Update v and m first, then subtract.",
        _CENTRED,
        {"mean": "old"},
        coincides="with centered=False",
    ),
    "R40": Row(
        "α and 1 − α change places in the mean",
        "You compute (1 − α)·m + α·g. α is the weight of the past, as in v.",
        _CENTRED,
        {"mean": "swapped"},
        coincides="with centered=False",
    ),
    "R75": Row(
        "the mean is that of the gradient without decay",
        "m averages p.grad. The centred form averages the gradient that is squared and divided, g + weight_decay·w.",
        _CENTRED,
        {"mean": "without decay"},
        coincides="with centered=False, and with weight_decay = 0",
    ),
    "R7": Row(
        "momentum before preconditioning",
        "Your buffer averages g, and the buffer is divided. torch divides first: the buffer adds up g/(√v + eps), each "
        "gradient over the root of its own time.",
        _BUFFER,
        {"momentum": "on the gradient"},
        coincides="without momentum",
        also=({"momentum": "averaged gradient"},),
    ),
    "R26": Row(
        "momentum has no effect",
        "group['momentum'] is not read, or the buffer is made anew in every step.",
        _BUFFER,
        {"momentum": "ignored"},
        coincides="without momentum",
        also=({"momentum": "no memory"},),
    ),
    "M16": Row(
        "a factor 1 − μ in the buffer",
        "μ·b + (1 − μ)·g/(√v + eps) is the averaging form. torch's buffer takes the new ratio in full.",
        _BUFFER,
        {"momentum": "averaged"},
        coincides="without momentum",
    ),
    "M11": Row(
        "μ and 1 − μ change places",
        "Your buffer keeps 1 − μ of its past.",
        _BUFFER,
        {"momentum": "swapped"},
        coincides="without momentum",
    ),
    "M7": Row(
        "the step uses the old buffer",
        "Every step lags one gradient behind, and the first one does not move. Update the buffer first.",
        _BUFFER,
        {"momentum": "old"},
        coincides="without momentum",
    ),
    "M4": Row(
        "lr inside the buffer",
        "Your buffer adds up lr·g/(√v + eps). Equivalent at constant lr; different when the lr changes: torch multiplies the "
        "whole buffer by the new lr (notebook 03).",
        _BUFFER,
        {"momentum": "lr inside"},
        coincides="without momentum, and in the weights at constant lr",
    ),
    "M22": Row(
        "Nesterov momentum",
        "You look ahead: g/(√v + eps) + μ·b. torch's RMSprop moves along b.",
        _BUFFER,
        {"momentum": "nesterov"},
        coincides="without momentum",
    ),
}

_DECAY_ROWS: dict[str, Row] = {
    "W8": Row(
        "the decay is decoupled, or added after the division",
        "The decay is not divided: you shrink the weight itself, or add weight_decay·w to the ratio. torch's RMSprop has L2: "
        "weight_decay·w is added to the gradient, is squared into v, and divided by the root with the rest.",
        _DECAY,
        {"decay": "decoupled"},
        coincides="with weight_decay = 0",
        also=({"decay": "after"},),
    ),
    "W5": Row(
        "twice the decay",
        "torch's weight_decay stands for (λ/2)·Σw², whose gradient is λw.",
        _DECAY,
        {"decay": "twice"},
        coincides="with weight_decay = 0",
    ),
    "W9": Row(
        "the decay has the wrong sign",
        "g − weight_decay·w makes the weights grow.",
        _DECAY,
        {"decay": "negative"},
        coincides="with weight_decay = 0",
    ),
    "W10": Row(
        "the decay is multiplied by lr",
        "The gradient knows no lr: add weight_decay·w.",
        _DECAY,
        {"decay": "times lr"},
        coincides="with weight_decay = 0",
    ),
    "W11": Row(
        "weight_decay is ignored",
        "The weights do not decay at all. Read group['weight_decay'].",
        _DECAY,
        {"decay": "ignored"},
        coincides="with weight_decay = 0",
    ),
    "W6": Row(
        "only tensors with more than one dimension decay",
        "Sparing biases is the caller's decision, made with parameter groups. torch decays every parameter of a group.",
        _GROUPS,
        {"decay": "matrices only"},
        coincides="with weight_decay = 0, and for models without vectors",
    ),
    "W12": Row(
        "the L2 term is divided, but not squared into v",
        "v averages the square of the gradient that the update uses: add weight_decay·w before both.",
        _DECAY,
        {"decay": "numerator only"},
        coincides="with weight_decay = 0",
    ),
    "R30": Row(
        "the L2 term goes into v only",
        "The decay makes the divisor larger and never pulls the weight: use the same g in (4.3) and (4.4).",
        _DECAY,
        {"decay": "v only"},
        coincides="with weight_decay = 0",
    ),
    "M10": Row(
        "p.grad is changed",
        "`g = p.grad` is no copy, and `g += weight_decay * p` writes into it. Who reads or re-uses the gradient afterwards "
        "finds something else. Make a new tensor: `g = g + …`.",
        "the docstring: p.grad stays as it is",
        {"gradient": "changed"},
        coincides="with weight_decay = 0",
    ),
    "A30": Row(
        "weight_decay is not read from its group",
        "Groups exist so that biases can go without decay: read group['weight_decay'] inside the loop.",
        _GROUPS,
        {"group decay": "first group"},
        coincides="for one group",
        also=({"group decay": "defaults"},),
    ),
    "M64": Row(
        "momentum is not read from its group",
        "Each group has its own momentum: group['momentum'] inside the loop.",
        _GROUPS,
        {"group momentum": "first group"},
        coincides="for one group",
        also=({"group momentum": "defaults"},),
    ),
    "R32": Row(
        "centered is not read from its group",
        "Each group says for itself whether it is centred: group['centered'] inside the loop.",
        _GROUPS,
        {"group centered": "first group"},
        coincides="for one group",
        also=({"group centered": "defaults"},),
    ),
}

ROWS: dict[str, Row] = {
    **_EPS_AND_ROOT,
    **_SQUARES,
    **_OPTIONS,
    **_DECAY_ROWS,
    **_STATE_ROWS,
    **_ALPHA_ROW,
    **_GROUP_ROWS,
}

# --- rmsprop.corrected ----------------------------------------------------------------------------------------------

_CORRECTIONS: dict[str, Row] = {
    "A5": Row(
        "no bias correction",
        "v goes into the update as it is: that is torch's RMSprop. Early on v is too small by 1 − α^t, and the steps are too "
        "long by the root of that.",
        _HAT,
        {"correct": "never"},
    ),
    "R35": Row(
        "g² is corrected, not its average",
        "You compute g²/(1 − α^t): the average is lost. Some lecture notes print it so: v̂ = g²/(1 − β^t). "
        "What is divided by 1 − α^t is v.",
        _HAT,
        {"correct": "g squared"},
    ),
    "E3": Row(
        "t counted from 0",
        "The first correction divides by 1 − α⁰ = 0. With tensors that gives inf or nan, with Python numbers a "
        "ZeroDivisionError. t is the number of this step, counted from 1.",
        _HAT,
        {"t": -1},
        also=({"t": -1, "as": "numbers"},),
    ),
    "E3n": Row(
        "t one too large",
        "The correction uses t + 1: perhaps the step count is raised twice, or raised after an initial 1.",
        _HAT,
        {"t": 1},
    ),
    "E4": Row(
        "1 − α·t in place of 1 − α^t",
        "The corrector is a product where a power belongs. Both agree at t = 1 only.",
        _HAT,
        {"corrector": "product"},
        coincides="in the first step, where α·t and α^t are the same",
    ),
    "E4p": Row(
        "(1 − α)^t in place of 1 − α^t",
        "The power is taken of 1 − α. Both agree at t = 1 only.",
        _HAT,
        {"corrector": "power of 1 - alpha"},
        coincides="in the first step",
    ),
    "E6": Row(
        "multiplied by 1 − α^t instead of divided",
        "v starts too small; multiplying by a number below 1 makes it smaller still.",
        _HAT,
        {"corrector": "multiplied"},
    ),
    "E5": Row(
        "the corrected average is stored back",
        "v̂ replaces v, so the next step averages, and corrects, a value that was corrected already. The correction is for "
        "the update only.",
        _HAT,
        {"stored": "corrected"},
        coincides="in the first step",
    ),
    "A12": Row(
        "the square root is taken before v is corrected",
        "You divide √v by 1 − α^t. The correction belongs to v: √(v / (1 − α^t)).",
        _HAT,
        {"root": "correction outside"},
    ),
    "A2": Row(
        "eps added before the bias correction (eps-hat)",
        "You add eps to the uncorrected √v and put the correction into the lr. That eps is larger by 1/√(1 − α^t). In (4.8) "
        "it is added to √v̂.",
        _HAT,
        {"eps": "hat"},
        coincides="late in training, when α^t has died out",
    ),
    "R90": Row(
        "a float32 tensor counts the steps",
        "A Python number to the power of a tensor is a tensor of the tensor's dtype: with torch.tensor(0.0), float32 for "
        "all weights, also those in float64. Count in a Python int, or take the number out: state['step'].item().",
        "the docstring: self.state[p]",
        {"corrector": "float32"},
        coincides="to seven digits",
    ),
    "A6": Row(
        "one step count that every parameter raises",
        "t rises once per parameter instead of once per step, so the second parameter's first step is corrected as its "
        "second. Keep t in the parameter's own state.",
        _HAT,
        {"count": "calls"},
        coincides="for an optimizer with a single parameter",
    ),
    "A6g": Row(
        "one step count for all parameters",
        "A parameter without a gradient is left alone in that step, and its t does not rise. Keep t in its own state.",
        _HAT,
        {"count": "steps"},
        coincides="as long as every parameter has a gradient in every step",
    ),
    "A6n": Row(
        "t never advances",
        "Every step is corrected as if it were the first. Is the step count stored in the state, or made anew each time?",
        _HAT,
        {"count": "never"},
        coincides="in the first step",
    ),
}

_AS_BEFORE = {
    row: replace(one, reread=_HAT if one.reread == _STEP else one.reread)
    for row, one in {**_EPS_AND_ROOT, **_SQUARES, **_STATE_ROWS, **_ALPHA_ROW}.items()
    if row not in ("R3", "R3o", "R38", "R33", "R39", "R79")
}
CORRECTED_ROWS: dict[str, Row] = {
    **_CORRECTIONS,
    **_AS_BEFORE,
    "R82": replace(
        ROWS["R82"],
        faults=dict.fromkeys(("lr", "group alpha", "group eps"), "defaults"),
        also=(dict.fromkeys(("lr", "group alpha", "group eps"), "first group"),),
    ),
    "R83": replace(
        ROWS["R83"], faults={"group eps": "first seen"}, also=({"lr": "first seen", "group eps": "first seen"},)
    ),
    "E9v": replace(
        ROWS["E9v"],
        explanation="v is (1 − α)·g² in every step: the old v is lost. Change it in place (a new tensor has to be stored in "
        "self.state[p]), and make it only when the state is empty.",
        also=({"v": "not stored"}, {"state": "reset"}),
    ),
}
