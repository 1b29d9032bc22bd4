#include <gtest/gtest.h>
TEST(AgentProtocol, Placeholder) {}
