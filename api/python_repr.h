// PythonRepr: a JSON value as Python's repr() shows it, for dialects whose clients know the
// messages of a Python server: True, None, 'it', "it's", 1e-05, {'a': [1.0]}.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace forkbox::api {

// Members of objects come in the order of their names. Cut behind about 1,000 bytes, where an
// ellipsis follows: the text goes back to whoever sent the value.
std::string PythonRepr(const nlohmann::json& value);

}  // namespace forkbox::api
