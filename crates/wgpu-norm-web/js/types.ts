// What norms and their operations take. Lengths, strides and axes are counted in elements, offsets and sizes in bytes.
// An object with a field that is not named here is refused.

/** How an element is stored. Arithmetic is f32 whatever it is; 16 bits are rounded once, to the nearest. */
export type Element = "f32" | "f16" | "bf16";

/** A tensor in a buffer of the caller's with usage `STORAGE`: a whole buffer, or a place in one. */
export type View =
  | GPUBuffer
  | {
      buffer: GPUBuffer;
      /** Where it starts, in bytes; a multiple of the element's size, whatever the device's alignment. 0 by default. */
      offset?: number;
      /** Number of elements: an error where the norm needs another. By default as many as the norm needs. */
      length?: number;
      /** Elements between the starts of two rows, where rows are padded. */
      rowStride?: number;
      /** The axis of which that is the stride; by default rows are those of the innermost axis. */
      stridedAxis?: number;
      /** What the elements are taken for: an error where the norm has another type. */
      element?: Element;
    };

/** Bytes in a buffer of the caller's with usage `STORAGE`: moments, a workspace, a counter. */
export type Bytes =
  | GPUBuffer
  | {
      buffer: GPUBuffer;
      /** Where they start; a multiple of 16, of 4 for a counter. 0 by default. */
      offset?: number;
      /** How many; by default as many as the norm needs (of a workspace all that follow). */
      size?: number;
    };

/** A view, or `"in-place"`: over the input; backward over the gradient to the output. */
export type Destination = View | "in-place";

/** Axes of the shape, ascending. */
export type Axes = readonly number[];

/** A function of one number. */
export type Activation =
  | "identity"
  | "relu"
  | "silu"
  | "gelu"
  | "gelu-tanh"
  | "sigmoid"
  | {
      /** The slope below 0. */
      leakyRelu: number;
    };

/** Where eps enters the divisor. */
export type Epsilon =
  | number
  | "machine"
  | { insideRoot: number }
  | { addedToDeviation: number }
  | { minimum: number }
  | { asGiven: number };

/** Element types of tensors; f32 where nothing else is said. One type: of all. */
export type Types =
  | Element
  | {
      input?: Element;
      output?: Element;
      gradOutput?: Element;
      gradInput?: Element;
      scale?: Element;
      bias?: Element;
      gradScale?: Element;
      gradBias?: Element;
    };

/**
 * What stands around a norm; everything absent changes nothing:
 *
 *     s = x * m + c + r
 *     h = norm(s)
 *     u = h * (scale + o) + bias;   v = u * (g + o') + t
 *     y = factor * act1(v + e) * act2(z) * q + r'
 */
export interface Fusion {
  /** What is normalized. */
  prologue?: {
    /** m: a parameter along these axes (`fused.gate`), or an activation of a tensor (`fused.z`). */
    multiplier?: { gate: Axes } | { activation: Activation };
    /** The axes along which c varies (`fused.prologueBias`). */
    bias?: Axes;
    /** The axes that r has, usually all (`fused.residual`). */
    residual?: Axes;
    /** What statistics see of the sum: as it is, or rounded to a type. */
    rounding?: "exact" | Element;
  };
  /** o: whether 1 is added to the scale, as Gemma's RMSNorm does. */
  onePlusScale?: boolean;
  /** Whether the normalized tensor is rounded before it meets its scale, as Llama's RMSNorm does. */
  normalizedRounding?: "none" | "as-output";
  /** A second affine map, along these axes: g (`fused.modulationScale`), t (`fused.modulationShift`), 1 added to g. */
  modulation?: { axes: Axes; scale?: boolean; shift?: boolean; onePlus?: boolean };
  /** What becomes of the normalized tensor. */
  epilogue?: {
    /** Whether there is an e (`fused.addend`). */
    addend?: boolean;
    /** act1. */
    activation?: Activation;
    /** act2, of `fused.z`. */
    gate?: Activation;
    /** The axes along which q varies (`fused.outGate`). */
    outGate?: Axes;
    /** Whether there is an r' (`fused.outResidual`). */
    outResidual?: boolean;
    /** A number. */
    factor?: number;
  };
  /** The result as bytes: `output` is where they go. Forward only. */
  quantization?: {
    format: "int8" | "e4m3";
    /** Which elements share a scale: those of a row, of so many columns of it, or all (`fused.staticScale`). */
    scale: "row" | "static" | { block: number };
    /** The least scale. */
    least?: number;
  };
}

/** What descriptors of most kinds have. */
interface Common {
  /** Labels of what is made for it. */
  label?: string;
  /** Sizes of the axes as they lie in memory, outermost first; rank 0 to 8, zero sizes allowed. */
  shape: readonly number[];
  /** Which axis holds the channels: the second, or the last. */
  format?: "channels-first" | "channels-last";
  /** By default as PyTorch and ONNX have it; a number stands where the kind has its own. */
  eps?: Epsilon;
  /** Which parameters are applied. Default: both; of rms and weight a scale; of lp and mvn none. */
  affine?: "none" | "scale" | "bias" | "scale-and-bias";
  /** The axes over which they vary, where not as the kind has it; `"groups"`: one a group. */
  affineAxes?: "of-kind" | "groups" | Axes;
  /** What statistics of one element do: refused by default where PyTorch refuses them. */
  singleElement?: "refuse" | "allow";
  /** Element types. */
  types?: Types;
  /** What stands around the norm. */
  fusion?: Fusion;
}

/** The axes that share statistics: the end of the shape, or neighbouring axes. */
type Normalized =
  { normalizedShape: readonly number[]; axes?: undefined } | { axes: Axes; normalizedShape?: undefined };

/** Describes a norm. */
export type NormDescriptor = Common &
  (
    | { kind: "batch" | "instance" }
    | { kind: "group"; /** Divides the channels. */ groups: number }
    | ({ kind: "layer" | "rms" } & Normalized)
    | { kind: "lp"; /** Order of the norm, 2 by default. */ p?: number; /** Neighbouring axes. */ axes: Axes }
    | { kind: "weight"; /** The axis that is kept, 0 by default; `null`: none. */ dim?: number | null }
    | { kind: "mvn"; axes: Axes }
  );

/** Describes an adaptive instance norm. */
export type AdaptiveDescriptor = Pick<Common, "label" | "shape" | "format" | "eps" | "singleElement" | "types"> & {
  kind: "adain";
  /** Rank and channels of the content, any spatial size, the content's batch size or 1. */
  styleShape: readonly number[];
  /** Whether eps enters the style's deviation too. */
  styleEps?: "as-content" | "none";
  /** Divisor of both variances. */
  variance?: "biased" | "unbiased";
};

/** Describes a spectral norm. */
export type SpectralDescriptor = Pick<Common, "label" | "shape" | "types"> & {
  kind: "spectral";
  /** The axis whose indices are the rows of the matrix, 0 by default. */
  dim?: number;
  /** Smallest length that a vector is divided by. */
  eps?: number;
  /** Which vector an iteration computes first. */
  order?: "u-then-v" | "v-then-u";
};

/** What a plan says of itself. */
export interface NormPlan {
  kind: string;
  /** Elements of input and output. */
  length: number;
  /** Elements of scale and of bias; 0 where neither is applied. */
  affineLength: number;
  /** Number of segments whose statistics are computed, and elements of one. */
  segmentCount: number;
  segmentLength: number;
  /** Number of running means, and of running variances; 0 for kinds without. */
  givenSegmentCount: number;
  /** Bytes of the moments that a training pass saves: 16 a segment. */
  statisticsSize: number;
  /** Bytes of the moments of given statistics: 16 a channel. */
  givenStatisticsSize: number;
  /** Bytes of workspace of a forward or training pass, of a backward pass, of `moments`; 0: none. */
  workspaceSize: number;
  backwardWorkspaceSize: number;
  momentsWorkspaceSize: number;
  /** Whether shards of a batch can share statistics. */
  crossesSamples: boolean;
  /** How statistics, and gradients, are computed, in words. */
  schedule: string;
  backwardSchedule: string;
}

/** What a plan of a spectral norm says of itself. */
export interface SpectralPlan {
  kind: string;
  /** Elements of the weight, of u and of v. */
  length: number;
  rows: number;
  columns: number;
  /** Bytes of workspace, forward and backward. */
  workspaceSize: number;
  backwardWorkspaceSize: number;
}

/** What a norm's fusion may name that has a gradient. */
interface FusedOperands {
  residual?: View;
  gate?: View;
  z?: View;
  prologueBias?: View;
  modulationScale?: View;
  modulationShift?: View;
  addend?: View;
  outGate?: View;
}

/** Views of what a norm's fusion names: exactly those that it has. */
export interface FusedViews extends FusedOperands {
  outResidual?: View;
  /** Forward: receives s of the prologue, where it is wanted. It is what backward takes as its input. */
  sum?: View;
  /** Forward: receives the scales of a quantization, f32. */
  scales?: View;
  /** The one scale of a static quantization, f32. */
  staticScale?: View;
  /** Backward: the input of the forward pass, for the gradient to what it is multiplied with. */
  multiplied?: View;
}

/** Gradients to what a norm's fusion names: those that are wanted. */
export interface FusedGradientViews extends FusedOperands {
  /** A gradient that arrives at the sum, or at the input: read. */
  arriving?: View;
}

/** Scale and bias, where the norm has them. */
interface Parameters {
  scale?: View;
  bias?: View;
}

/** Scratch memory; by default one that the engine makes, for all its norms. */
interface Workspace {
  workspace?: Bytes;
}

/** Operations of a norm, and what each takes. */
export interface NormOperations {
  forward: Parameters &
    Workspace & {
      input: View;
      output: Destination;
      /** By default the input's. Moments: saved by training, or given as `import` makes them; or running ones. */
      statistics?: { saved: Bytes } | { given: Bytes } | { mean: View; variance: View };
      fused?: FusedViews;
    };
  training: Parameters &
    Workspace & {
      input: View;
      output: Destination;
      /** Receives moments, `plan.statisticsSize` bytes. */
      saved: Bytes;
      fused?: FusedViews;
    };
  backward: Parameters &
    Workspace & {
      /** What was normalized: the input of the forward pass, or `fused.sum`. */
      input: View;
      gradOutput: View;
      statistics: { saved: Bytes } | { given: Bytes } | { mean: View; variance: View };
      gradInput?: Destination;
      gradScale?: View;
      gradBias?: View;
      fused?: FusedViews;
      fusedGradients?: FusedGradientViews;
    };
  runningUpdate: {
    /** Moments of a training pass. */
    saved: Bytes;
    /** Running statistics, f32, a channel each: updated. */
    mean: View;
    variance: View;
    /** Number of batches so far, a u32: incremented. Needed for `"cumulative"`. */
    batches?: Bytes;
    /** Weight of the new value, 0.1 by default, within 0 and 1 unless `asGiven`. */
    momentum?: number | "cumulative" | { asGiven: number };
    /** Which variance of the batch is taken in; by default unbiased, as in PyTorch. */
    batchVariance?: "unbiased" | "biased";
  };
  export: {
    saved: Bytes;
    mean?: View;
    /** One of variance, 1 / divisor, divisor. */
    variance?: View;
    rstd?: View;
    deviation?: View;
  };
  import: { mean: View; variance: View; /** Receives `plan.givenStatisticsSize` bytes. */ given: Bytes };
  moments: Workspace & { input: View; records: Bytes };
  merge: {
    /** The records of one shard after those of another. */
    shards: Bytes;
    /** Number of shards. */
    count: number;
    records?: "statistics" | "gradient-sums";
    merged: Bytes;
  };
  gradientSums: Workspace & {
    input: View;
    gradOutput: View;
    saved: Bytes;
    /** Receives gradient sums, `plan.statisticsSize` bytes. */
    sums: Bytes;
    scale?: View;
    gradScale?: View;
    gradBias?: View;
  };
  inputGradient: Workspace & {
    input: View;
    gradOutput: View;
    saved: Bytes;
    sums: Bytes;
    gradInput: Destination;
    scale?: View;
  };
}

/** Operations of an adaptive norm. */
export interface AdaptiveOperations {
  forward: Workspace & { input: View; style: View; output: Destination; saved?: Bytes };
  backward: Workspace & {
    input: View;
    style: View;
    gradOutput: View;
    saved: Bytes;
    gradInput?: Destination;
    gradStyle?: View;
  };
}

/** Operations of a spectral norm. */
export interface SpectralOperations {
  forward: Workspace & {
    weight: View;
    output: Destination;
    /** Receives the singular value: one element. */
    sigma: View;
    /** Singular vectors, f32, `plan.rows` and `plan.columns` elements: moved by the iterations. */
    u?: View;
    v?: View;
    /** How far; 0, the default, leaves them as in evaluation. */
    iterations?: number;
  };
  backward: Workspace & { weight: View; gradOutput: View; gradWeight: View; sigma: View; u?: View; v?: View };
}
