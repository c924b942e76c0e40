import type { BoundNorm } from "./bound.js";
import type { NormEngine, PlannedRecipe } from "./engine.js";
import type { Kernel, Recipe } from "./recipe.js";
import { describe, STORAGE } from "./recipe.js";
import type { AdaptiveOperations, NormOperations, NormPlan, SpectralOperations, SpectralPlan } from "./types.js";

/** Which of a plan's sizes is that of an operation's workspace. */
const WORKSPACES: Record<string, string> = {
  forward: "workspaceSize",
  training: "workspaceSize",
  backward: "backwardWorkspaceSize",
  gradientSums: "backwardWorkspaceSize",
  inputGradient: "backwardWorkspaceSize",
  moments: "momentsWorkspaceSize",
};

/** A norm planned for one shape and one device, and its operations by name. */
export class PlannedNorm<Operations, Plan> {
  /** @internal */
  constructor(
    protected readonly engine: NormEngine,
    /** Prefix of the labels of everything made for this norm. */
    readonly label: string,
    private readonly descriptor: string,
    /** Its sizes and schedules. */
    readonly plan: Plan,
  ) {}

  /**
   * Binds an operation to buffers; the binding can be recorded any number of times. Kernels that are not compiled yet
   * are compiled: call `warmUp` before, where that must not hold up the device.
   *
   * @throws NormError says which view is wrong; nothing has been recorded or written then. What only the device knows
   * (a buffer of another device, a destroyed one) is told by `BoundNorm.ready` and `BoundNorm.check`.
   */
  bind<Name extends keyof Operations & string>(operation: Name, args: Operations[Name]): BoundNorm {
    this.engine.assertAlive();
    const own: GPUBuffer[] = [];
    try {
      const { recipes, verdicts } = this.#plan(operation, args, own);
      return this.engine.bind(`${this.label} ${operation}`, recipes, verdicts, own);
    } catch (error) {
      own.forEach((buffer) => buffer.destroy());
      throw error;
    }
  }

  /**
   * Compiles the kernels of an operation without blocking, so that binding compiles none.
   *
   * @throws NormError as `bind`; `BindError::Pipeline` of the first kernel that the device cannot compile.
   */
  async warmUp<Name extends keyof Operations & string>(operation: Name, args: Operations[Name]): Promise<void> {
    this.engine.assertAlive();
    const own: GPUBuffer[] = [];
    const { recipes } = this.#plan(operation, args, own);
    own.forEach((buffer) => buffer.destroy());
    const isNew = (kernel: Kernel | string): kernel is Kernel => typeof kernel !== "string";
    await this.engine.compile(recipes.flatMap(({ kernels }) => kernels).filter(isNew));
  }

  /**
   * The recipe of an operation, for a host of one's own: sources, parameters and dispatches as data, which
   * `docs/recipe.md` of the repository describes. A workspace has to be given.
   */
  recipe<Name extends keyof Operations & string>(operation: Name, args: Operations[Name]): Recipe {
    return this.engine.ask(this.descriptor, operation, describe(args, []), true) as Recipe;
  }

  /** Recipes to be run in order: given statistics as plain numbers become moments first, in a buffer of their own. */
  #plan(operation: string, given: unknown, own: GPUBuffer[]) {
    const args = { ...(given as { workspace?: unknown; statistics?: { mean?: unknown; variance?: unknown } }) };
    const verdicts = [];
    const recipes: PlannedRecipe[] = [];
    const size = (this.plan as Record<string, number>)[WORKSPACES[operation] ?? ""];
    if (size && args.workspace == null) {
      const { buffer, verdict } = this.engine.workspace(size);
      args.workspace = buffer;
      verdicts.push(verdict);
    }
    const { mean, variance, ...rest } = args.statistics ?? {};
    if (mean !== undefined || variance !== undefined) {
      const bytes = Math.max((this.plan as Partial<NormPlan>).givenStatisticsSize ?? 0, 16);
      const descriptor = { label: `${this.label} statistics`, size: bytes, usage: STORAGE };
      const moments = this.engine.device.createBuffer(descriptor);
      own.push(moments);
      recipes.push(this.engine.plan(this.descriptor, "import", { mean, variance, given: moments }));
      args.statistics = { ...rest, given: moments } as never;
    }
    recipes.push(this.engine.plan(this.descriptor, operation, args));
    return { recipes, verdicts };
  }
}

/** A norm. */
export class Norm extends PlannedNorm<NormOperations, NormPlan> {
  /** Binds a forward pass. */
  bindForward(args: NormOperations["forward"]): BoundNorm {
    return this.bind("forward", args);
  }

  /** Binds a forward pass that saves the statistics of its input as moments. */
  bindTraining(args: NormOperations["training"]): BoundNorm {
    return this.bind("training", args);
  }

  /** Binds a backward pass: every gradient that has a view. */
  bindBackward(args: NormOperations["backward"]): BoundNorm {
    return this.bind("backward", args);
  }

  /** Binds the update of running statistics by the moments of a training pass. */
  bindRunningUpdate(args: NormOperations["runningUpdate"]): BoundNorm {
    return this.bind("runningUpdate", args);
  }

  /** Binds the conversion of saved moments to plain numbers. */
  bindExport(args: NormOperations["export"]): BoundNorm {
    return this.bind("export", args);
  }

  /** Binds the conversion of running means and variances to moments. */
  bindImport(args: NormOperations["import"]): BoundNorm {
    return this.bind("import", args);
  }

  /** Binds the moments of one shard of a batch. */
  bindMoments(args: NormOperations["moments"]): BoundNorm {
    return this.bind("moments", args);
  }

  /** Binds the merge of the records of shards. */
  bindMerge(args: NormOperations["merge"]): BoundNorm {
    return this.bind("merge", args);
  }

  /** Binds the sums that the gradient to the input needs, and the gradients to scale and bias of this shard. */
  bindGradientSums(args: NormOperations["gradientSums"]): BoundNorm {
    return this.bind("gradientSums", args);
  }

  /** Binds the gradient to the input from merged sums. */
  bindInputGradient(args: NormOperations["inputGradient"]): BoundNorm {
    return this.bind("inputGradient", args);
  }
}

/** An adaptive instance norm: the content takes mean and deviation of the style. */
export class AdaptiveNorm extends PlannedNorm<AdaptiveOperations, NormPlan & { styleLength: number }> {
  /** Binds a forward pass, which saves the moments of the content where asked. */
  bindForward(args: AdaptiveOperations["forward"]): BoundNorm {
    return this.bind("forward", args);
  }

  /** Binds a backward pass: the gradients to content and style that have a view. */
  bindBackward(args: AdaptiveOperations["backward"]): BoundNorm {
    return this.bind("backward", args);
  }
}

/** A spectral norm: a weight divided by its largest singular value. */
export class SpectralNorm extends PlannedNorm<SpectralOperations, SpectralPlan> {
  /** Binds the power iterations and the division, all in as many dispatches of one pass. */
  bindForward(args: SpectralOperations["forward"]): BoundNorm {
    return this.bind("forward", args);
  }

  /** Binds the gradient to the weight, u and v being constants. */
  bindBackward(args: SpectralOperations["backward"]): BoundNorm {
    return this.bind("backward", args);
  }
}
