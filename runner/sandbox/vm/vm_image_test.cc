#include "runner/sandbox/vm/vm_image.h"

#include <gtest/gtest.h>

namespace forkbox::sandbox::vm {
namespace {

TEST(VmImage, NamesTheCommandWhereThereIsNone) {
  const auto image = VmImage::Open("/nonexistent", "");
  ASSERT_FALSE(image);
  EXPECT_NE(image.error().message.find("forkbox vm build"), std::string::npos);
}

}  // namespace
}  // namespace forkbox::sandbox::vm
