"""A whole DDPM in one file (Ho, Jain, Abbeel 2020, arxiv.org/abs/2006.11239). It needs torch and matplotlib.

python examples/ddpm_spiral.py    trains for about fifteen seconds and writes ddpm_spiral.png
"""

from itertools import pairwise

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

STEPS, BATCH = 6000, 256  # of training, and examples in each of them
T = 100  # steps from data, t = 0, to noise, t = T


# Data: 2,000 points (x, y) on a spiral, with mean 0 and variance 1, so that N(0, I) is a fair place to start from.
def spiral(n: int = 2000) -> Tensor:
    angle = 5 * torch.pi * torch.rand(n).sqrt()
    x = angle[:, None] * torch.stack([angle.cos(), angle.sin()], dim=1) + 0.2 * torch.randn(n, 2)
    return (x - x.mean(0)) / (x - x.mean(0)).std()


# Schedule: beta_t is the variance that step t adds. The paper's 0.0001 ... 0.02 is for T = 1000; of fewer steps, each
# has to add more. Index 0 is the data: nothing has been added.
beta = torch.cat([torch.zeros(1), torch.linspace(1e-4, 0.02, T) * 1000 / T])
alpha_bar = (1 - beta).cumprod(0)  # how much of the variance of x_t is still data


# Network: eps_theta(x, t). With sines and cosines of x it draws thin arms (Tancik et al. 2020). Time enters as log-SNR.
class Network(nn.Module):
    def __init__(self, width: int = 128, waves: int = 32) -> None:
        super().__init__()
        self.register_buffer("directions", 1.5 * torch.randn(2, waves))
        widths = [2 + 2 * waves + 8, width, width, width]
        hidden = [layer for a, b in pairwise(widths) for layer in (nn.Linear(a, b), nn.SiLU())]
        self.layers = nn.Sequential(*hidden, nn.Linear(width, 2))

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        place = x @ self.directions  # (B, waves)
        time = alpha_bar[t].logit()[:, None] * torch.tensor([0.125, 0.25, 0.5, 1.0])  # (B, 4)
        return self.layers(torch.cat([x, place.sin(), place.cos(), time.sin(), time.cos()], dim=1))


# Algorithm 1: jump to a random time, and guess the noise of the jump.
def train(model: nn.Module, data: Tensor, steps: int) -> None:
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        x0 = data[torch.randint(len(data), (BATCH,))]
        t = torch.randint(1, T + 1, (BATCH,))
        eps = torch.randn_like(x0)
        x = alpha_bar[t, None].sqrt() * x0 + (1 - alpha_bar[t, None]).sqrt() * eps
        loss = (eps - model(x, t)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rate.step()


# Algorithm 2: from noise, one step at a time, to data. noise = 0 leaves out sigma_t z, and the cloud collapses.
@torch.no_grad()
def sample(model: nn.Module, n: int, noise: float = 1.0) -> Tensor:
    x = torch.randn(n, 2)
    for t in range(T, 0, -1):
        z = torch.randn(n, 2) * (t > 1)  # the last step adds none
        eps = model(x, torch.full((n,), t))
        x = (x - beta[t] / (1 - alpha_bar[t]).sqrt() * eps) / (1 - beta[t]).sqrt() + noise * beta[t].sqrt() * z
    return x


if __name__ == "__main__":
    torch.manual_seed(0)
    data, model = spiral(), Network()
    train(model, data, STEPS)
    clouds = {"data": data, "DDPM": sample(model, 2000), "without the noise": sample(model, 2000, noise=0.0)}
    axes = Figure(figsize=(9, 3.2)).subplots(1, 3, sharex=True, sharey=True)
    for ax, (title, x) in zip(axes, clouds.items(), strict=True):
        ax.scatter(*x.T, s=1)
        ax.set(title=title, aspect="equal", xlim=(-3, 3), ylim=(-3, 3))
    axes[0].figure.savefig("ddpm_spiral.png", dpi=150)
