// What this program adds to octavo.
#pragma once

void register_leaky_relu();
void register_percentile_policy();
void register_stripes();
