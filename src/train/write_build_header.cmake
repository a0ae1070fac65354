# Writes OUTPUT with version, git commit and compiler; run at every build, touches the file only when it changes.
execute_process(COMMAND git describe --always --dirty --abbrev=12 --match=none WORKING_DIRECTORY ${SOURCE}
                OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE result)
if(NOT result EQUAL 0)
  set(commit unknown)
endif()
file(CONFIGURE OUTPUT ${OUTPUT} CONTENT
"// Made by the build.
#pragma once
#define OCTAVO_BUILD_VERSION \"${VERSION}\"
#define OCTAVO_BUILD_COMMIT \"${commit}\"
#define OCTAVO_BUILD_COMPILER \"${COMPILER}\"
#define OCTAVO_BUILD_TYPE \"${TYPE}\"
")
