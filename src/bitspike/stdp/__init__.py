"""The unsupervised network: spikes timed by Poisson, one winner a step, STDP; in float and in integers only."""
