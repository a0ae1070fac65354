// Catch2 2 puts its main here; with Catch2 3 this is empty and the library brings one.
#define CATCH_CONFIG_MAIN
#include "support/catch.h"
