//! For kernels that stand before another one and leave most calls to it.

/// Writes the methods of a trait that are left to the field `$to`, those that change it after `mut`.
macro_rules! forward {
    (mut $to:ident: $(fn $name:ident($($arg:ident: $type:ty),*) $(-> $result:ty)?;)*) => {
        $(fn $name(&mut self $(, $arg: $type)*) $(-> $result)? {
            self.$to.$name($($arg),*)
        })*
    };
    ($to:ident: $(fn $name:ident($($arg:ident: $type:ty),*) $(-> $result:ty)?;)*) => {
        $(fn $name(&self $(, $arg: $type)*) $(-> $result)? {
            self.$to.$name($($arg),*)
        })*
    };
}
