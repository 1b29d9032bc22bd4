// Why a program of ours that is to show that a language works did not, in a line for health and
// log.
#pragma once

#include <string>
#include <string_view>

#include "schema/execution.h"

namespace forkbox::sandbox {

//   version command: exited with 1, Error occurred during initialization of VM
// `what` ran; how it ended; then what we, its compiler and it itself had to say: the first line of
// each. What it said on stdout counts where stderr has nothing: a JVM complains there.
std::string WhyNot(std::string_view what, const schema::Outcome& outcome);

}  // namespace forkbox::sandbox
