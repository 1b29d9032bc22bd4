// What every program finds in its environment, whatever the language.
#pragma once

#include <map>
#include <string>

namespace forkbox::sandbox {

std::map<std::string, std::string> CommonEnvironment();

}  // namespace forkbox::sandbox
