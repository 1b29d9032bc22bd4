#include <gtest/gtest.h>
TEST(Placeholder, Waits) {}
