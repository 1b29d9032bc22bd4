// KeyIdentity: who asks, once the key was found good.
#pragma once

#include <string>
#include <string_view>

#include "schema/execution.h"
#include "store/key_store.h"

namespace forkbox::api {

struct KeyIdentity {
  schema::OwnerId owner;              // the account; "" when keys are off
  schema::KeyId key_id;               // "" when keys are off
  store::KeyPermissions permissions;  // full access when keys are off
  store::AccountLimits limits;        // the account's; none when keys are off
  bool is_demo = false;               // the key starts with "zb_demo_"
  std::string label;  // for logs: first 4 … last 4 of the key, *** if that would be most of it
};

// Who asks while keys are off: nobody in particular, who may do everything.
KeyIdentity Nobody();

// For KeyIdentity::label.
std::string LabelOfKey(std::string_view key);

}  // namespace forkbox::api
