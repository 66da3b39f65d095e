"""Small scripted specs that the run's tests share: replies come from a script, everything else is real."""

EXACT = {"exact": {"_target_": "selfevo.verifiers.Exact"}}
POLICY = {"_target_": "selfevo.models.Scripted"}


def engine(**replies):
    """A scripted engine: {text that a prompt contains: reply or replies}."""
    return {"_target_": "selfevo.engines.Scripted", "replies": replies}


def trainer():
    return {"_target_": "counting.CountingTrainer"}


def coevolution():
    """Two policies in alternation; the proposer is paid by nested solver rollouts, its tasks grow the solver's pool."""
    return {
        "policies": {"proposer": POLICY, "solver": POLICY},
        "roles": {"proposer": {"policy": "proposer", "prompt": "propose"}, "solver": {"policy": "solver"}},
        "prompts": {"propose": "new {question}", "solve": "Q {question}"},
        "engine": engine(
            new=["3+3\n#### 6", "5+5\n#### 10", "nonsense"],
            **{"Q 3+3": ["#### 6", "#### 7"], "Q 5+5": "#### 10", "Q 2+2": "#### 4", "Q 1+1": "#### 2"},
        ),
        "curriculum": {
            "_target_": "selfevo.curricula.Pool",
            "parse": {"_target_": "selfevo.tasks.FromText"},
            "where": {"learnable": {"above": 0}},
        },
        "stages": {
            "propose": {"kind": "rollout", "role": "proposer", "tasks": "task", "n": 1, "group": 3},
            "attempts": {
                "kind": "rollout",
                "role": "solver",
                "tasks": {"follow": "propose"},
                "parse": {"_target_": "selfevo.tasks.FromText"},
                "group": 4,
            },
            "marks": {"kind": "score", "of": "attempts", "verifier": EXACT},
            "learnability": {
                "kind": "score",
                "of": "propose",
                "using": ["marks"],
                "update": ["curriculum"],
                "verifier": {"learnable": {"_target_": "selfevo.verifiers.Children", "table": "marks"}},
            },
            "train_proposer": {"kind": "train", "policy": "proposer", "from": "learnability", "optimizer": trainer()},
            "solve": {"kind": "rollout", "role": "solver", "tasks": "curriculum", "n": 2, "group": 2},
            "score": {"kind": "score", "of": "solve", "verifier": EXACT},
            "train_solver": {"kind": "train", "policy": "solver", "from": "score", "optimizer": trainer()},
        },
        "loop": {
            "round": {
                "repeat": 2,
                "do": {
                    "teach": {"repeat": 2, "do": ["propose", "attempts", "marks", "learnability", "train_proposer"]},
                    "learn": {"repeat": 3, "do": ["solve", "score", "train_solver"]},
                },
            }
        },
    }


def probe(**replies):
    """A text edit tested under two memory versions on paired draws, then adopted or not."""
    return {
        "engine": engine(**replies),
        "memories": {"skills": {"_target_": "selfevo.memories.Text", "files": {"hint.md": "guess"}}},
        "roles": {
            "agent": {"policy": "solver", "prompt": "act", "memories": ["skills"]},
            "writer": {"policy": "solver", "prompt": "write"},
        },
        "prompts": {"act": "{skills}: {question}", "write": "improve for {question}"},
        "stages": {
            "draft": {"kind": "rollout", "role": "writer", "tasks": "task", "n": 1},
            "marks": {"kind": "score", "of": "draft", "verifier": {"any": {"_target_": "selfevo.verifiers.Format", "pattern": "."}}},
            "propose": {
                "kind": "train",
                "memory": "skills",
                "from": "marks",
                "optimizer": {"_target_": "selfevo.memories.FromRows", "file": "hint.md"},
            },
            "probe": {
                "kind": "rollout",
                "role": "agent",
                "tasks": "curriculum",
                "n": 2,
                "bind": {"skills": ["current", "propose"]},
                "seed_by": ["task"],
            },
            "gate": {
                "kind": "score",
                "of": "probe",
                "subject": "skills",
                "verifier": {**EXACT, "gain": {"_target_": "selfevo.verifiers.PairedGate", "memory": "skills", "reward": "exact"}},
            },
            "accept": {
                "kind": "train",
                "memory": "skills",
                "from": "gate",
                "promote": "current",
                "optimizer": {"_target_": "selfevo.memories.AdoptWithinBudget", "reward": "exact"},
            },
        },
        "loop": {"main": {"repeat": 1, "do": ["draft", "marks", "propose", "probe", "gate", "accept"]}},
    }
