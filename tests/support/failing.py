"""A strategy that some or all episodes do not survive."""

from selfevo.rollouts import Single


class Failing:
    """One reply, unless the task's question holds `on`: then the episode raises.

    on: the text that breaks an episode; "" is in every question.
    """

    def __init__(self, on: str = ""):
        self.on = on

    async def run(self, task, seats, env, ctx):
        if self.on in task.vars["question"]:
            raise OSError("the world is gone")
        return await Single().run(task, seats, env, ctx)
